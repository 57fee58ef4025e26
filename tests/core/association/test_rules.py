"""The settings of the rules: what SAM 3 was released with, what a robot is given, and what is refused."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from sam_core.association import LIVE, RELEASED, ConceptRules

RELEASED_VALUES = {
    "score_threshold": 0.5,
    "nms_iou": 0.1,
    "max_detections": 200,
    "match_iou": 0.1,
    "unmatched_iou": 0.5,
    "new_score": 0.7,
    "first_at_any_score": True,
    "hot_start": 15,
    "hot_start_unmatched": 8,
    "hot_start_duplicate": 8,
    "keep_alive_start": 30,
    "keep_alive_most": 30,
    "keep_alive_least": -1,
    "hide_unmatched": False,
    "empty_counts_as_unmatched": False,
    "recondition_every": 16,
    "recondition_score": 0.8,
    "recondition_iou": 0.8,
    "recondition_mask": "track",
    "overlap_iou": 0.7,
    "least_share": 0.3,
    "fill_hole_area": 16,
    "max_objects": None,
    "reidentify": False,
    "across_concepts": False,
    "leave_after": 0,
}
LIVE_VALUES = {
    "first_at_any_score": False,
    "reidentify": True,
    "across_concepts": True,
    "leave_after": 300,
    "fill_hole_area": 0,
}

SHARES = {
    "score_threshold": "the score threshold",
    "new_score": "the score that starts an object",
    "nms_iou": "the IoU of the non-maximum suppression",
    "unmatched_iou": "the IoU below which a track is unmatched",
    "recondition_score": "the score that reconditions",
    "recondition_iou": "the IoU that reconditions",
    "overlap_iou": "the IoU from which a track is suppressed",
    "least_share": "the share of a mask that must be left",
}
COUNTS = [
    "max_detections",
    "hot_start",
    "hot_start_unmatched",
    "hot_start_duplicate",
    "keep_alive_start",
    "keep_alive_most",
    "recondition_every",
    "fill_hole_area",
    "leave_after",
]


def test_the_released_rules_are_those_of_the_released_model() -> None:
    assert asdict(RELEASED) == RELEASED_VALUES


def test_a_robot_gets_the_released_rules_but_for_these() -> None:
    assert asdict(LIVE) == RELEASED_VALUES | LIVE_VALUES


@pytest.mark.parametrize("name", SHARES)
def test_a_share_is_from_0_to_1(name: str) -> None:
    for inside in (0.0, 1.0):
        assert getattr(ConceptRules(**{name: inside}), name) == inside
    for outside, shown in ((-0.1, "-0.1"), (1.1, "1.1"), (float("nan"), "nan")):
        with pytest.raises(ValueError, match=rf"^{SHARES[name]} must be within \[0, 1\], not {shown}$"):
            ConceptRules(**{name: outside})


def test_every_detection_would_match_at_an_iou_of_0() -> None:
    assert ConceptRules(match_iou=1.0).match_iou == 1
    for wrong, shown in ((0.0, "0"), (-0.5, "-0.5"), (1.5, "1.5")):
        with pytest.raises(ValueError, match=f"^the IoU from which masks match must be .* at most 1, not {shown}$"):
            ConceptRules(match_iou=wrong)


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_at_least_0(name: str) -> None:
    assert getattr(ConceptRules(**{name: 0}), name) == 0
    with pytest.raises(ValueError, match=f"^{name} must be at least 0, not -1$"):
        ConceptRules(**{name: -1})


def test_keep_alive_may_end_below_0() -> None:
    assert ConceptRules(keep_alive_least=-7).keep_alive_least == -7


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"max_objects": 0}, "max_objects must be at least 1, not 0"),
        ({"recondition_mask": "both"}, "recondition_mask must be one of track, detection"),
    ],
)
def test_other_values_that_make_no_sense(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        ConceptRules(**wrong)
    assert ConceptRules(max_objects=1, recondition_mask="detection").max_objects == 1
