"""Association of detections and tracks: which instance is which object, which is new, which was lost."""

from __future__ import annotations

from sam_core.association.handover import track_instance
from sam_core.association.matching import (
    Association,
    Decision,
    Instance,
    KnownObject,
    MatchRules,
    associate,
    concept_key,
)
from sam_core.association.schedule import FollowedConcept, RedetectionSchedule
from sam_core.association.track_history import TrackHistory

__all__ = [
    "Association",
    "Decision",
    "FollowedConcept",
    "Instance",
    "KnownObject",
    "MatchRules",
    "RedetectionSchedule",
    "TrackHistory",
    "associate",
    "concept_key",
    "track_instance",
]
