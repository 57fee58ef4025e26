"""Cropped masks and their overlap."""

from __future__ import annotations

import numpy as np

from sam_core.streaming import (
    CroppedMask,
)
from tests.core.association.drawn import H, W, box


def test_a_mask_is_cropped_to_its_pixels_and_comes_back_whole() -> None:
    mask = np.zeros((H, W), bool)
    mask[3, 5] = mask[7, 20] = True
    cropped = CroppedMask.of(mask)
    assert cropped.box == (5, 3, 21, 8)
    assert cropped.pixels.shape == (5, 16)
    assert (cropped.area, cropped.centre) == (2, (13.0, 5.5))
    np.testing.assert_array_equal(cropped.full(), mask)
    mask[:] = True
    assert cropped.area == 2, "it shares no memory"


def test_an_empty_mask_overlaps_nothing() -> None:
    empty = CroppedMask.of(np.zeros((H, W), bool))
    assert (empty.box, empty.area) == ((0, 0, 0, 0), 0)
    assert not empty.full().any()
    assert empty.overlap(empty) == 0
    assert empty.overlap(box(0, 0, W, H)) == 0


def test_overlap_is_intersection_over_union() -> None:
    square = box(10, 10, 20, 20)
    assert square.overlap(square) == 1
    assert square.overlap(box(15, 10, 25, 20)) == 50 / 150
    assert square.overlap(box(20, 10, 30, 20)) == 0
    assert square.overlap(box(10, 10, 20, 20, size=(H, W + 1))) == 0
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.random((2, 9, 11)) < rng.random((2, 1, 1))
        expected = (a & b).sum() / max((a | b).sum(), 1)
        assert CroppedMask.of(a).overlap(CroppedMask.of(b)) == expected
