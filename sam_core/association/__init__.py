"""From instances of a concept on one image to objects that are tracked: who is who, who is new, who is back."""

from __future__ import annotations

from sam_core.concepts.following import FollowedConcept, Following
from sam_core.concepts.handover import hand_over
from sam_core.concepts.masks import CroppedMask
from sam_core.concepts.matching import (
    Decision,
    Instance,
    KnownObject,
    MatchRules,
    Verdict,
    concept_key,
    decide,
)
from sam_core.concepts.sightings import SeenFrame, Sightings

__all__ = [
    "CroppedMask",
    "Decision",
    "FollowedConcept",
    "Following",
    "Instance",
    "KnownObject",
    "MatchRules",
    "SeenFrame",
    "Sightings",
    "Verdict",
    "concept_key",
    "decide",
    "hand_over",
]
