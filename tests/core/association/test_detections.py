"""Detections on the way to the rules: brought to the tracker's grid, picked, and located."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sam_core.association import RELEASED, ConceptDetections, select
from tests.core.association.drawn import box as mask_of
from tests.core.association.drawn import cup
from tests.core.association.rectangles import NOTHING, box, cups

CPU = torch.device("cpu")
UPPER_HALF = box(0, 0, 10, 5)  # 50 places
SQUARE = box(0, 0, 10, 10)  # 100 places: its IoU with its upper half is 50 / 100


# --- The grid ---------------------------------------------------------------------------------------------------------


def test_instances_come_to_the_grid_with_their_scores_and_keep_their_masks() -> None:
    instances = [cup(mask_of(0, 0, 4, 4, (4, 8)), 0.75), cup(mask_of(0, 0, 8, 4, (4, 8)), 0.5)]
    found = ConceptDetections.of_instances("the cup", instances, 4, CPU)
    assert (found.phrase, len(found)) == ("the cup", 2)
    assert found.masks == (instances[0].mask, instances[1].mask)
    assert (found.scores.dtype, found.scores.tolist()) == (torch.float32, [0.75, 0.5])
    assert (found.logits.dtype, found.logits.shape) == (torch.float32, (2, 4, 4))


def test_an_instance_is_shrunk_smoothly_and_its_border_lies_at_zero() -> None:
    """The left half of 8 columns on 4: each takes a triangle four columns wide, with weights 1, 3, 3, 1 of 8."""
    found = ConceptDetections.of_instances("cup", [cup(mask_of(0, 0, 4, 4, (4, 8)))], 4, CPU)
    for row in found.logits[0]:
        assert row.tolist() == pytest.approx([0.5, 7 / 8 - 0.5, 1 / 8 - 0.5, -0.5])


def test_no_instances_are_no_detections() -> None:
    found = ConceptDetections.of_instances("cup", [], 4, CPU)
    assert (len(found), found.logits.shape, found.masks) == (0, (0, 4, 4), ())


def test_logits_of_another_size_are_interpolated() -> None:
    """The centres of 4 columns lie at -0.25, 0.25, 0.75 and 1.25 of 2."""
    scores, logits = torch.tensor([0.5], dtype=torch.float64), torch.tensor([[[0.0, 4.0], [0.0, 4.0]]]).double()
    found = ConceptDetections("cup", scores, logits).on_grid(4, CPU)
    assert found.phrase == "cup"
    assert (found.scores.dtype, found.logits.dtype) == (torch.float32, torch.float32)
    assert found.logits.tolist() == [[[0.0, 1.0, 3.0, 4.0]] * 4]


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (4, 4), (9, 9)])
@pytest.mark.parametrize("count", [0, 2])
def test_whatever_the_size_was_the_grid_is_square(shape: tuple[int, int], count: int) -> None:
    found = ConceptDetections("cup", torch.zeros(count), torch.ones(count, *shape)).on_grid(4, CPU)
    assert found.logits.shape == (count, 4, 4)
    assert (found.logits == 1).all()


def test_some_detections_are_taken_in_the_order_asked_for() -> None:
    outlines = (mask_of(0, 0, 1, 1), mask_of(0, 0, 2, 2), mask_of(0, 0, 3, 3))
    found = replace(cups((0.1, NOTHING), (0.2, SQUARE), (0.3, UPPER_HALF)), masks=outlines)
    taken = found.taken([2, 1])
    assert taken.phrase == "cup"
    assert taken.scores.tolist() == pytest.approx([0.3, 0.2])
    torch.testing.assert_close(taken.logits, torch.stack((UPPER_HALF, SQUARE)))
    assert taken.masks == (outlines[2], outlines[1])
    assert replace(found, masks=None).taken([0]).masks is None
    assert (len(found.taken([])), found.taken([]).masks) == (0, ())


# --- Places -----------------------------------------------------------------------------------------------------------


def test_the_centre_is_that_of_the_box_in_image_widths_and_heights() -> None:
    logits = torch.full((2, 4, 8), -1.0)
    logits[0, 0:3, 2:7] = 1.0  # rows 0 to 2 of 4, columns 2 to 6 of 8
    logits[0, 3, 7] = 0.0  # a logit of 0 is not on the mask
    logits[1, 3, 7] = 1.0
    found = ConceptDetections("cup", torch.ones(2), logits)
    assert found.centre(0) == (4.5 / 8, 1.5 / 4)
    assert found.centre(1) == (7.5 / 8, 3.5 / 4)
    better = replace(found, masks=(mask_of(0, 0, 1, 1), mask_of(6, 10, 18, 30)))  # in an image of 40 x 60 px
    assert better.centre(1) == (12 / 60, 20 / 40)


def test_the_mask_has_the_images_size_and_is_the_better_one_if_there_is_one() -> None:
    logits = torch.full((2, 2, 2), -1.0)
    logits[1, :, 0] = 1.0
    found = ConceptDetections("cup", torch.ones(2), logits)
    left = np.zeros((4, 8), bool)
    left[:, :4] = True
    np.testing.assert_array_equal(found.mask(1, (4, 8)), left)
    assert not found.mask(0, (4, 8)).any()
    assert not ConceptDetections("cup", torch.ones(1), torch.zeros(1, 2, 2)).mask(0, (4, 8)).any(), "0 is outside"
    outlines = (mask_of(0, 0, 1, 1, (4, 8)), mask_of(5, 1, 7, 3, (4, 8)))
    np.testing.assert_array_equal(replace(found, masks=outlines).mask(1, (4, 8)), outlines[1].full())


# --- Which ones the rules look at -------------------------------------------------------------------------------------


def test_a_score_must_be_above_the_threshold() -> None:
    found = cups((0.5, box(0, 0, 5, 5)), (0.75, box(10, 10, 15, 15)))
    assert select(found, replace(RELEASED, score_threshold=0.5)).kept == (1,)
    assert select(found, replace(RELEASED, score_threshold=0.25)).kept == (0, 1)
    assert select(found, replace(RELEASED, score_threshold=0.75)).kept == ()


def test_only_so_many_of_the_best_are_looked_at_and_told_in_their_own_order() -> None:
    found = cups((0.6, box(0, 0, 5, 5)), (0.9, box(6, 0, 11, 5)), (0.8, box(12, 0, 17, 5)), (0.7, box(0, 6, 5, 11)))
    assert select(found, replace(RELEASED, max_detections=2)).kept == (1, 2)
    assert select(found, replace(RELEASED, max_detections=3)).kept == (1, 2, 3)
    assert select(found, replace(RELEASED, max_detections=0)).kept == ()


def test_masks_that_overlap_by_exactly_the_bound_are_both_kept() -> None:
    found = cups((0.9, SQUARE), (0.8, UPPER_HALF))
    at, above = (select(found, replace(RELEASED, nms_iou=iou)) for iou in (0.5, 0.49))
    assert (at.kept, at.twins) == ((0, 1), {})
    assert (above.kept, above.twins) == ((0,), {1: 0})


def test_of_equal_scores_the_first_is_kept() -> None:
    assert select(cups((0.9, UPPER_HALF), (0.9, SQUARE)), RELEASED).twins == {1: 0}


def test_a_suppressed_detection_belongs_to_the_best_one_that_it_overlaps() -> None:
    """Three in a row: the middle one overlaps both others by 1 / 3, the outer ones do not touch."""
    found = cups((0.8, box(0, 0, 6, 6)), (0.7, box(3, 0, 9, 6)), (0.9, box(6, 0, 12, 6)), (0.6, box(0, 0, 6, 5)))
    chosen = select(found, RELEASED)
    assert chosen.kept == (0, 2)
    assert chosen.twins == {1: 2, 3: 0}


def test_what_is_overlapped_by_less_than_the_bound_is_no_twin() -> None:
    """The last overlaps the best by 6 / 66, and the other by 30 / 42."""
    found = cups((0.9, box(0, 0, 6, 6)), (0.8, box(6, 0, 12, 6)), (0.7, box(5, 0, 11, 6)))
    assert select(found, replace(RELEASED, nms_iou=0.3)).twins == {2: 1}


def test_a_suppressed_detection_suppresses_none() -> None:
    """The chain 0.9 - 0.8 - 0.7: the last overlaps only the middle one, which is gone."""
    found = cups((0.9, box(0, 0, 6, 6)), (0.8, box(3, 0, 9, 6)), (0.7, box(6, 0, 12, 6)))
    assert select(found, RELEASED).kept == (0, 2)


def test_without_suppression_all_are_kept_and_empty_masks_overlap_nothing() -> None:
    same = cups((0.9, SQUARE), (0.8, SQUARE))
    assert (select(same, replace(RELEASED, nms_iou=0.0)).kept, select(same, RELEASED).kept) == ((0, 1), (0,))
    assert select(cups((0.9, NOTHING), (0.8, NOTHING)), RELEASED).kept == (0, 1)
