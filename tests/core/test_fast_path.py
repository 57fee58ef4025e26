"""What is computed in a cheaper way gives the same masks as the plain way, and the same for any number of objects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.reference.weights import make_lively
from sam_core import Prompt, build_tracker
from sam_core.sam2.pixels import resized
from sam_core.streaming.describe import count_pixels
from sam_core.streaming.masks import logits_at, masks_at


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (300, 64), (9, 2100)])
def test_pixels_are_counted_in_eights(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    masks = torch.stack((torch.rand(size) > 0.5, torch.ones(size, dtype=torch.bool), torch.zeros(size).bool()))
    columns, rows = count_pixels(masks)
    assert torch.equal(columns, masks.sum(1))
    assert torch.equal(rows, masks.sum(2))


@pytest.mark.parametrize("size", [(480, 640), (45, 61), (48, 48), (1, 1)])
@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.5])
def test_masks_are_resized_where_objects_can_be(size: tuple[int, int], threshold: float) -> None:
    torch.manual_seed(0)
    smooth = F.interpolate(torch.randn(3, 1, 7, 9), size=(48, 48), mode="bilinear")[:, 0]
    dot, corner, nothing = torch.full((3, 48, 48), -3.0)
    dot[17, 30], corner[-1, 0] = 8.0, 2.0
    low_res = torch.cat((smooth, torch.stack((dot, corner, nothing))))
    logits = logits_at(low_res, size)
    differs = masks_at(low_res, size, threshold) != (logits > threshold)
    assert (logits - threshold)[differs].abs().max().item() < 1e-5 if differs.any() else True
    assert not masks_at(low_res[-1:], size, threshold).any()


def test_resizing_rounds_to_whole_levels() -> None:
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 90, 120), dtype=torch.uint8)
    exact = F.interpolate(image.float(), size=(64, 64), mode="bilinear", antialias=True)
    assert (resized(image, 64).float() - exact).abs().max() <= 1
    assert resized(image[:, :, :64, :64], 64).data_ptr() == image.data_ptr()


def picture(number: int) -> np.ndarray:
    image = np.random.default_rng(3).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.roll(image.repeat(8, 0)[:120].repeat(8, 1)[:, :160], 2 * number, axis=1))


def box(k: int) -> Prompt:
    return Prompt(box=np.array([10.0 + 30 * k, 20, 40 + 30 * k, 70]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["sam2_nano", "sam2.1_micro"])
@pytest.mark.parametrize(("others", "joins"), [(1, 0), (1, 3), (2, 3), (3, 0)])
def test_an_object_that_joins_changes_no_bit_of_the_others(name: str, others: int, joins: int, dtype: str) -> None:
    torch.manual_seed(0)
    tracker = build_tracker(name, device="cpu", dtype=dtype)
    if tracker.checkpoint is None:
        make_lively(tracker.model)
    # With `overlaps="look"` others do change what is shown, not what is remembered: see test_overlaps.py.
    calm, joined = (tracker.open_stream(max_objects=4, overlaps="keep") for _ in range(2))
    for i in range(22 if dtype == "float32" else 14):  # bfloat16 is slow on CPUs without such arithmetic
        before, after = (stream.step(picture(i)) for stream in (calm, joined))
        assert torch.equal(before.low_res, after.low_res[:others])
        if i == 0:
            for stream in (calm, joined):
                for k in range(others):
                    stream.add_prompt(box(k))
        if i == joins:
            joined.add_prompt(box(others))
    assert len(after) == others + 1
