"""An object's masks do not depend, to the bit, on how many objects share its batch; resizing is exact to a level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.reference.weights import make_lively
from sam_core import Prompt, build_tracker
from sam_core.sam2.pixels import resized


def test_resizing_rounds_to_whole_levels() -> None:
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 90, 120), dtype=torch.uint8)
    exact = F.interpolate(image.float(), size=(64, 64), mode="bilinear", antialias=True)
    assert (resized(image, (64, 64)).float() - exact).abs().max() <= 1
    assert resized(image[:, :, :64, :64], (64, 64)).data_ptr() == image.data_ptr()


def picture(number: int) -> np.ndarray:
    image = np.random.default_rng(3).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.roll(image.repeat(8, 0)[:120].repeat(8, 1)[:, :160], 2 * number, axis=1))


def box(k: int) -> Prompt:
    column, row = k % 4, k // 4
    return Prompt(box=np.array([10.0 + 30 * column, 20 + 9 * row, 40 + 30 * column, 70 + 9 * row]))


@pytest.mark.parametrize(
    ("name", "dtype", "others", "joins"),
    [
        *(("sam2_nano", "float32", *case) for case in ((1, 3), (3, 0))),
        *(pytest.param("sam2_nano", "float32", *case, marks=pytest.mark.slow) for case in ((1, 0), (2, 3))),
        pytest.param("sam2_nano", "bfloat16", 2, 3, marks=pytest.mark.slow),  # on CPUs without such arithmetic
        *(("sam2.1_micro", dtype, *case) for dtype in ("float32", "bfloat16") for case in ((1, 0), (1, 3), (2, 3))),
        *(("sam2.1_micro", "float32", *case) for case in ((4, 5), (7, 9), (8, 0))),  # around a multiple of eight
        *(("edgetam_micro", dtype, 2, 3) for dtype in ("float32", "bfloat16")),
        ("edgetam_micro", "float32", 8, 0),
    ],
)
def test_an_object_that_joins_changes_no_bit_of_the_others(name: str, dtype: str, others: int, joins: int) -> None:
    torch.manual_seed(0)
    tracker = build_tracker(name, device="cpu", dtype=dtype)
    if tracker.checkpoint is None:
        make_lively(tracker.model)
    # With `non_overlap="color_histogram"` others change what is shown, not what is remembered: test_color_histogram.py.
    calm, joined = (tracker.open_stream(max_objects=9, non_overlap="none") for _ in range(2))
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
