"""RoI-align against values computed by hand from its definition (aligned=False, sampling_ratio=-1)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sam_core.sam3.roi_align import roi_align

RAMP_X = torch.arange(8.0).expand(1, 1, 6, 8)  # value = column
RAMP_Y = torch.arange(6.0)[:, None].expand(1, 1, 6, 8)  # value = row


def pool(features: Tensor, box: list[float], size: int) -> Tensor:
    return roi_align(features, torch.tensor([[box]]), size)[0, 0, 0]


def test_samples_on_a_ramp() -> None:
    # Box 1 … 5 in x, 2 cells of 2 px, 2 samples a cell at 1.5, 2.5 | 3.5, 4.5: means 2 and 4.
    torch.testing.assert_close(pool(RAMP_X, [1, 1, 5, 3], 2), torch.tensor([[2.0, 4.0], [2.0, 4.0]]))
    # Rows 1 … 3, 2 cells of 1 px, 1 sample a cell at 1.5 and 2.5.
    torch.testing.assert_close(pool(RAMP_Y, [1, 1, 5, 3], 2), torch.tensor([[1.5, 1.5], [2.5, 2.5]]))


def test_fractional_cells_round_the_number_of_samples_up() -> None:
    # Width 3 in 2 cells of 1.5 px: 2 samples a cell, 0.75 px apart: 0.375, 1.125 | 1.875, 2.625.
    torch.testing.assert_close(pool(RAMP_X, [0, 0, 3, 2], 2)[0], torch.tensor([0.75, 2.25]))


def test_a_box_is_at_least_one_pixel() -> None:
    # No width: taken as 1 px from x = 2, one cell, one sample at 2.5.
    torch.testing.assert_close(pool(RAMP_X, [2, 1, 2, 1], 1), torch.tensor([[2.5]]))


def test_pixel_centres_are_at_whole_coordinates() -> None:
    features = torch.zeros(1, 1, 3, 3)
    features[0, 0, 1, 1] = 1
    # One sample at (1, 1) hits the pixel's centre; at (1.5, 1) it lies half-way to a zero.
    torch.testing.assert_close(pool(features, [0.5, 0.5, 1.5, 1.5], 1), torch.tensor([[1.0]]))
    torch.testing.assert_close(pool(features, [1.0, 0.5, 2.0, 1.5], 1), torch.tensor([[0.5]]))
    torch.testing.assert_close(pool(features, [1.25, 1.25, 2.25, 2.25], 1), torch.tensor([[0.0625]]))


def test_the_border_is_extended_by_one_pixel_and_then_zero() -> None:
    ones = torch.ones(1, 1, 4, 4)
    # Samples at -0.5 count as the border pixel; at -1.5 they count nothing.
    torch.testing.assert_close(pool(ones, [-1, 0, 0, 1], 1), torch.tensor([[1.0]]))
    torch.testing.assert_close(pool(ones, [-2, 0, -1, 1], 1), torch.tensor([[0.0]]))
    # Four samples at -1.5, -0.5, 0.5, 1.5 in one cell: three of four count.
    torch.testing.assert_close(pool(ones, [-2, 0, 2, 1], 1), torch.tensor([[0.75]]))
    # Beyond the far edge: 3.5 counts as pixel 3, 4.5 counts nothing.
    torch.testing.assert_close(pool(RAMP_X[..., :4], [3, 0, 5, 1], 1), torch.tensor([[1.5]]))


def by_definition(features: Tensor, box: list[float], size: int) -> Tensor:
    """Pool one box on (C, H, W) features sample by sample."""
    _, height, width = features.shape
    x1, y1, x2, y2 = box
    cell_w, cell_h = max(x2 - x1, 1.0) / size, max(y2 - y1, 1.0) / size
    count_w, count_h = math.ceil(cell_w), math.ceil(cell_h)

    def sample(x: float, y: float) -> Tensor:
        if not (-1 <= x <= width and -1 <= y <= height):
            return torch.zeros(len(features))
        x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
        left, top = int(x), int(y)
        right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
        upper = features[:, top, left] * (1 - x + left) + features[:, top, right] * (x - left)
        lower = features[:, bottom, left] * (1 - x + left) + features[:, bottom, right] * (x - left)
        return upper * (1 - y + top) + lower * (y - top)

    pooled = torch.zeros(len(features), size, size)
    for row in range(size):
        for column in range(size):
            for i in range(count_h):
                for j in range(count_w):
                    x = x1 + column * cell_w + (j + 0.5) * cell_w / count_w
                    y = y1 + row * cell_h + (i + 0.5) * cell_h / count_h
                    pooled[:, row, column] += sample(x, y) / (count_w * count_h)
    return pooled


@pytest.mark.parametrize("size", [1, 3, 7])
def test_random_boxes_follow_the_definition(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    features = torch.randn(2, 5, 11, 13, generator=generator)
    corners = torch.rand(2, 4, 2, 2, generator=generator) * torch.tensor([17.0, 15.0]) - 2
    boxes = torch.cat((corners.amin(dim=2), corners.amax(dim=2)), dim=-1)
    pooled = roi_align(features, boxes, size)
    assert pooled.shape == (2, 4, 5, size, size)
    for image in range(2):
        for index in range(4):
            expected = by_definition(features[image], boxes[image, index].tolist(), size)
            torch.testing.assert_close(pooled[image, index], expected, atol=2e-5, rtol=1e-4)


def test_no_boxes() -> None:
    assert roi_align(torch.ones(2, 3, 4, 4), torch.zeros(2, 0, 4), 7).shape == (2, 0, 3, 7, 7)


def test_half_precision_comes_back_as_it_went_in() -> None:
    features = torch.randn(1, 2, 6, 6)
    boxes = torch.tensor([[[0.5, 1.0, 4.0, 5.0]]])
    half = roi_align(features.bfloat16(), boxes, 3)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), roi_align(features, boxes, 3), atol=0.05, rtol=0.02)
