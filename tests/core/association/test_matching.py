"""Match detections with tracks: every threshold at the value itself and beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from sam_core.association import RELEASED, ConceptDetections, Match, mask_ious, match
from tests.core.association.rectangles import NOTHING, box, cups, masks

SQUARE = box(0, 0, 10, 10)  # 100 places
HALF = box(0, 0, 10, 5)  # IoU with the square: 50 / 100
ELSEWHERE = box(12, 12, 18, 18)


def matched(found: ConceptDetections, *tracks: torch.Tensor, at_any_score: bool = False, **rules: Any) -> Match:
    chosen = replace(RELEASED, **rules)
    return match(found.logits, found.scores, masks(*tracks), chosen, at_any_score=at_any_score)


def test_ious_are_a_table_of_the_ones_by_the_others() -> None:
    ones, others = masks(SQUARE, HALF, NOTHING) > 0, masks(HALF, ELSEWHERE) > 0
    assert mask_ious(ones, others).tolist() == [[0.5, 0.0], [1.0, 0.0], [0.0, 0.0]]
    single = torch.zeros(1, 20, 20, dtype=torch.bool)
    single[0, 3, 3] = True
    assert mask_ious(single, single).tolist() == [[1.0]]
    assert mask_ious(ones[:0], others).shape == (0, 2)


@pytest.mark.parametrize(("match_iou", "expected"), [(0.5, ((0,),)), (0.51, ((),))])
def test_a_detection_is_a_track_from_the_iou_on(match_iou: float, expected: tuple[tuple[int, ...], ...]) -> None:
    result = matched(cups((0.9, HALF)), SQUARE, match_iou=match_iou)
    assert result.matched == expected
    assert result.best == ((0,) if expected[0] else (None,))
    assert result.free == result.new == (() if expected[0] else (0,))


@pytest.mark.parametrize(("unmatched_iou", "expected"), [(0.5, ()), (0.51, (0,))])
def test_a_track_is_unmatched_below_the_iou(unmatched_iou: float, expected: tuple[int, ...]) -> None:
    assert matched(cups((0.9, HALF)), SQUARE, unmatched_iou=unmatched_iou).unmatched == expected


def test_one_detection_that_reaches_a_track_is_enough() -> None:
    found = cups((0.9, ELSEWHERE), (0.9, SQUARE), (0.9, box(0, 0, 10, 1)))
    assert matched(found, SQUARE, NOTHING, ELSEWHERE, box(12, 0, 16, 4)).unmatched == (3,)


@pytest.mark.parametrize("tracks", [(), (SQUARE,)])
@pytest.mark.parametrize(("new_score", "expected"), [(0.75, (0,)), (0.76, ())])
def test_a_detection_begins_a_track_from_the_score_on(tracks: Any, new_score: float, expected: tuple[int, ...]) -> None:
    result = matched(cups((0.75, ELSEWHERE)), *tracks, new_score=new_score)
    assert (result.new, result.free) == (expected, (0,))


def test_what_is_a_track_already_begins_none_whatever_its_score() -> None:
    assert matched(cups((1.0, SQUARE)), SQUARE, at_any_score=True).new == ()


def test_beside_a_track_a_new_one_needs_its_score() -> None:
    """`at_any_score` is for a concept that has no track."""
    assert matched(cups((0.55, ELSEWHERE)), SQUARE, at_any_score=True).new == ()


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"recondition_score": 0.75, "recondition_iou": 0.5}, {0: 0}),
        ({"recondition_score": 0.76, "recondition_iou": 0.5}, {}),
        ({"recondition_score": 0.75, "recondition_iou": 0.51}, {}),
    ],
)
def test_a_detection_is_confident_from_its_score_and_its_iou_on(rules: dict[str, float], expected: Any) -> None:
    assert matched(cups((0.75, HALF)), SQUARE, **rules).confident == expected


def test_what_begins_a_track_confirms_no_other() -> None:
    assert matched(cups((0.9, HALF)), SQUARE, match_iou=0.6, recondition_iou=0.5).confident == {}


def test_the_best_track_is_the_one_that_is_overlapped_most() -> None:
    """IoU 60 / 100 with the first, 1 with the second, 50 / 60 with the third."""
    found = cups((0.9, ELSEWHERE), (0.9, box(0, 0, 10, 6)))
    result = matched(found, SQUARE, box(0, 0, 10, 6), HALF)
    assert result.matched == ((), (0, 1, 2))
    assert result.best == (None, 1)
    assert result.confident == {1: 1}


def test_a_logit_of_zero_is_on_no_mask() -> None:
    flat = torch.zeros(20, 20)
    result = matched(cups((0.9, flat)), flat, SQUARE)
    assert (result.empty, result.unmatched, result.free) == ((0,), (1,), (0,))
    unsure = box(0, 0, 10, 10, 0.5)
    assert matched(cups((0.9, unsure)), unsure).matched == ((0,),)


def test_without_tracks_everything_is_free() -> None:
    found = cups((0.9, SQUARE), (0.55, ELSEWHERE))
    assert matched(found) == Match((0,), (0, 1), ((), ()), (), (), {}, (None, None))
    assert matched(found, at_any_score=True).new == (0, 1)
    assert matched(cups()) == Match((), (), (), (), (), {}, ())


def test_without_detections_tracks_are_unmatched_or_empty() -> None:
    assert matched(cups(), SQUARE, NOTHING, HALF) == Match((), (), (), (0, 2), (1,), {}, ())
