"""Tracks that overlap, holes and specks: which pixel of whose mask is left."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sam_core.association import clean, recently_occluded, shrunk
from tests.core.association.rectangles import GRID, box, masks

SQUARE = box(0, 0, 10, 10)  # 100 places
HALF = box(0, 0, 10, 5)  # IoU with the square: 50 / 100


# --- Who gives way ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("iou", "expected"), [(0.5, [False, True]), (0.51, [False, False])])
def test_masks_overlap_from_the_iou_on(iou: float, expected: list[bool]) -> None:
    assert recently_occluded(masks(SQUARE, HALF) > 0, [3, 7], [0, 0], iou).tolist() == expected


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([-1, 5], [False, False]),  # the first was never occluded: both stay
        ([0, 5], [False, True]),  # on frame 0 it was
        ([5, 0], [True, False]),
        ([5, 5], [False, False]),
        ([-1, -1], [False, False]),
    ],
)
def test_the_one_occluded_more_recently_gives_way_to_one_that_was_occluded_at_all(
    last: list[int], expected: list[bool]
) -> None:
    assert recently_occluded(masks(SQUARE, SQUARE) > 0, last, [0, 0], 0.7).tolist() == expected


def test_of_three_each_gives_way_to_any_that_it_overlaps() -> None:
    three = masks(SQUARE, box(12, 12, 18, 18), HALF) > 0
    assert recently_occluded(three, [1, 2, 3], [0, 0, 0], 0.5).tolist() == [False, False, True]
    assert recently_occluded(three, [1, 2, 3], [4, 4, 5], 0.5).tolist() == [False, False, False]


@pytest.mark.parametrize("count", [0, 1])
def test_one_alone_gives_way_to_none(count: int) -> None:
    alone = recently_occluded((masks(SQUARE) > 0)[:count], [3] * count, [0] * count, 0.5)
    assert (alone.dtype, alone.tolist()) == (torch.bool, [False] * count)


# --- What is remembered -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "stays"), [(0.5, True), (0.51, False)])
def test_a_mask_stays_that_keeps_its_share(share: float, stays: bool) -> None:
    """The upper half of the square goes to the surer one; the lower half, 50 of 100 places, is left."""
    left = shrunk(masks(SQUARE, box(0, 0, 10, 5, 6.0)), [0, 0], share)
    torch.testing.assert_close(left[1], box(0, 0, 10, 5, 6.0))
    if stays:
        torch.testing.assert_close(left[0], SQUARE)
    else:
        assert left[0].max() == left[0].min() == -10


def test_logits_far_below_are_left_as_they_are() -> None:
    weak = box(0, 0, 10, 5, 1.0)
    weak[19, 19] = -30.0
    left = shrunk(masks(SQUARE, weak), [0, 0], 0.3)
    assert (left[1, 19, 19], left[1, 0, 0]) == (-30.0, -10.0)


def test_tracks_compete_within_their_concept_alone() -> None:
    """Cups are 0 and 2, the plate is 1: the plate's higher logits take nothing from the cups."""
    cup, plate, other = box(0, 0, 10, 10, 2.0), box(0, 0, 10, 10, 9.0), box(12, 0, 18, 6, 3.0)
    kept = shrunk(masks(cup, plate, other), [0, 1, 0], 0.3)
    torch.testing.assert_close(kept, masks(cup, plate, other))
    below = shrunk(masks(cup, plate, box(0, 0, 10, 10, 3.0)), [0, 1, 0], 0.3)
    assert [bool((one > 0).any()) for one in below] == [False, True, True]


def test_who_has_no_mask_has_no_share_unless_it_is_its_concepts_only_track() -> None:
    """Nothing of nothing is 0: below any share. A concept's only track has nobody to lose to."""
    nothing = torch.full((GRID, GRID), -3.0)
    together = shrunk(masks(SQUARE, nothing), [0, 0], 0.3)
    apart = shrunk(masks(SQUARE, nothing), [0, 1], 0.3)
    assert (together[1].max(), apart[1].max()) == (-10.0, -3.0)
    torch.testing.assert_close(shrunk(masks(nothing), [0], 0.3)[0], nothing)
    assert len(shrunk(masks(), [], 0.3)) == 0


def test_a_mask_of_one_place_has_its_whole_share() -> None:
    dot = box(15, 15, 16, 16)
    torch.testing.assert_close(shrunk(masks(SQUARE, dot), [0, 0], 1.0), masks(SQUARE, dot))


@pytest.mark.parametrize(("logit", "kept"), [(0.5, [0.5, 0.5]), (0.0, [-10.0, -10.0])])
def test_a_mask_is_where_its_logit_is_above_0(logit: float, kept: list[float]) -> None:
    left = shrunk(masks(box(0, 0, 4, 4, logit), box(8, 8, 12, 12, logit)), [0, 0], 0.5)
    assert left.amax(dim=(1, 2)).tolist() == kept


# --- Holes and specks -------------------------------------------------------------------------------------------------


def with_hole(area: int, logit: float = -3.0) -> Tensor:
    logits = box(0, 0, 10, 10)
    logits[5, 2 : 2 + area] = logit
    return logits


def with_speck(area: int) -> Tensor:
    logits = box(0, 0, 10, 10)
    logits[15, 12 : 12 + area] = 2.0
    return logits


@pytest.mark.parametrize(("area", "changed"), [(1, True), (3, True), (4, False)])
def test_holes_and_specks_are_small_up_to_the_area(area: int, changed: bool) -> None:
    hole, speck = clean(masks(with_hole(area), with_speck(area)), 3)
    assert hole[5, 2:8].tolist() == pytest.approx(([0.1] if changed else [-3.0]) * area + [5.0] * (6 - area))
    assert speck[15, 12:18].tolist() == pytest.approx(([-0.1] if changed else [2.0]) * area + [-5.0] * (6 - area))
    assert (hole != with_hole(area)).sum() == (speck != with_speck(area)).sum() == (area if changed else 0)


def test_places_that_touch_by_a_corner_are_one_region() -> None:
    diagonal = box(0, 0, 10, 10)
    diagonal[[15, 16], [12, 13]] = 2.0
    torch.testing.assert_close(clean(diagonal[None], 1)[0], diagonal)
    assert clean(diagonal[None], 2)[0, 15, 12] == pytest.approx(-0.1)


@pytest.mark.parametrize(("places", "gone"), [(4, True), (5, False)])
def test_a_speck_is_at_most_half_of_its_mask(places: int, gone: bool) -> None:
    """A mask of two pieces, of 4 + `places` in all; only the greater of them, if any, is more than half."""
    logits = box(0, 0, 4, 1)
    logits[10, 0:places] = 5.0
    cleaned = clean(logits[None], 16)[0]
    assert bool((cleaned[10] > 0).any()) is not gone
    assert not (cleaned[0] > 0).any()


def test_a_mask_is_measured_with_its_holes_filled() -> None:
    """A ring of 12 around a hole of 4, and 14 places: half of 16 + 14 is 15, where half of 12 + 14 would be 13."""
    ring = box(0, 0, 4, 4)
    ring[1:3, 1:3] = -2.0
    ring[10, 0:14] = 5.0
    cleaned = clean(ring[None], 16)[0]
    assert cleaned[1, 1] == pytest.approx(0.1)
    assert (cleaned[0:4, 0:4] > 0).all()
    assert not (cleaned[10] > 0).any()


def test_an_unsure_speck_is_one() -> None:
    logits = box(0, 0, 10, 10, 0.5)
    logits[15, 15] = 0.5
    assert clean(logits[None], 1)[0, 15, 15] == pytest.approx(-0.1)


@pytest.mark.parametrize("area", [0, -1])
def test_no_area_changes_nothing(area: int) -> None:
    logits = masks(with_hole(1), with_speck(1))
    torch.testing.assert_close(clean(logits, area), logits)
    assert len(clean(masks(), 16)) == 0


def test_a_logit_of_zero_is_a_hole() -> None:
    assert clean(with_hole(1, 0.0)[None], 1)[0, 5, 2] == pytest.approx(0.1)


def test_a_mask_that_fills_the_grid_is_left_as_it_is() -> None:
    whole = torch.full((GRID, GRID), 5.0)
    torch.testing.assert_close(clean(whole[None], 1000)[0], whole)
