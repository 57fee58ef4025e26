"""Association of detections and tracks: the rules of SAM 3, driven on every frame or by detections that come later.

`plan_search` decides, `ConceptTracker` does what was decided on a `Stream`.
"""

from __future__ import annotations

from sam_core.association.concept_result import ConceptResult
from sam_core.association.concept_tracker import ConceptTracker
from sam_core.association.delay import Delay
from sam_core.association.detections import ConceptDetections, Instance, Selection, select
from sam_core.association.events import (
    Ending,
    EventKind,
    ObjectEvent,
    ObjectStanding,
    changes,
    endings,
    standings,
)
from sam_core.association.frame_detector import FrameDetector
from sam_core.association.frame_rules import Detect
from sam_core.association.handover import Handover, hand_over
from sam_core.association.hot_start import Removal, Survey, survey
from sam_core.association.matching import Match, mask_ious, match
from sam_core.association.merging import merged
from sam_core.association.overlaps import recently_occluded, shrunk
from sam_core.association.plan import Association, Decision, Known, SearchPlan, plan_search
from sam_core.association.rules import LIVE, RELEASED, ConceptRules
from sam_core.association.schedule import FollowedConcept, RedetectionSchedule, concept_key
from sam_core.association.specks import clean
from sam_core.association.tracks import Track

__all__ = [
    "LIVE",
    "RELEASED",
    "Association",
    "ConceptDetections",
    "ConceptResult",
    "ConceptRules",
    "ConceptTracker",
    "Decision",
    "Delay",
    "Detect",
    "Ending",
    "EventKind",
    "FollowedConcept",
    "FrameDetector",
    "Handover",
    "Instance",
    "Known",
    "Match",
    "ObjectEvent",
    "ObjectStanding",
    "RedetectionSchedule",
    "Removal",
    "SearchPlan",
    "Selection",
    "Survey",
    "Track",
    "changes",
    "clean",
    "concept_key",
    "endings",
    "hand_over",
    "mask_ious",
    "match",
    "merged",
    "plan_search",
    "recently_occluded",
    "select",
    "shrunk",
    "standings",
    "survey",
]
