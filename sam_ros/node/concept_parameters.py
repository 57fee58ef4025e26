"""The parameters of the rules for concepts that are followed; all of them change live."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from sam_core.association import LIVE, ConceptRules

__all__ = ["CONCEPT_DESCRIPTORS", "rules_of"]

_SHARE = {"floating_point_range": [FloatingPointRange(from_value=0.0, to_value=1.0)]}
_COUNT = {"integer_range": [IntegerRange(from_value=0, to_value=1_000_000)]}


def _live(description: str, **ranges: Any) -> ParameterDescriptor:
    return ParameterDescriptor(description=description, **ranges)


CONCEPT_DESCRIPTORS: dict[str, ParameterDescriptor] = {
    "concept_nms_iou": _live(
        "Of two detections of a followed concept whose masks overlap by more than this IoU, the better one counts. 0: "
        "both do.",
        **_SHARE,
    ),
    "concept_unmatched_iou": _live(
        "An object is unmatched in a search where no detection reaches this mask IoU with it.", **_SHARE
    ),
    "concept_hot_start": _live(
        "Searches after which a new object of a followed concept is confirmed; until then it is tentative and may be "
        "withdrawn. 0: at once.",
        **_COUNT,
    ),
    "concept_hot_start_unmatched": _live(
        "A tentative object that was unmatched in so many searches is withdrawn.", **_COUNT
    ),
    "concept_hot_start_duplicate": _live(
        "A tentative object that shared its detection with an older one in so many searches is withdrawn.", **_COUNT
    ),
    "concept_recondition_every": _live(
        "Every so many searches an object that a detection confirms well keeps its memory of that image for long. 0: "
        "never.",
        **_COUNT,
    ),
    "concept_recondition_score": _live(
        "... if the detection has this score, and the tracker's logit of seeing the object is above it, too.", **_SHARE
    ),
    "concept_recondition_iou": _live("... and if their masks overlap by this IoU.", **_SHARE),
    "concept_least_share": _live(
        "An object that keeps less than this share of its mask, where each pixel goes to the surest object of the "
        "concept, is remembered as absent.",
        **_SHARE,
    ),
    "concept_overlap_iou": _live(
        "Of two objects of a concept whose masks overlap from this IoU on, the one that was hidden more recently is "
        "taken for absent. 0: neither.",
        **_SHARE,
    ),
    "concept_leave_after": _live(
        "An object of a followed concept that was not seen in so many searches in a row is removed and frees its "
        "place. 0: never.",
        **_COUNT,
    ),
    "concept_publish_tentative": _live(
        "Publish new objects of followed concepts at once, as tentative; else only once they are confirmed."
    ),
}


def rules_of(parameters: Any) -> ConceptRules:
    """Return the rules that a tracker's parameters set."""
    names = [name.removeprefix("concept_") for name in CONCEPT_DESCRIPTORS if name != "concept_publish_tentative"]
    values = {name: getattr(parameters, f"concept_{name}") for name in names}
    return ConceptRules(**{**vars(LIVE), **values, "fill_hole_area": parameters.fill_hole_area})
