"""Prompts drawn from the truth as a user would give them: clicks inside, loose boxes, masks, clicks on errors.

The generators are those of a CPU, so that a run draws the same on any device: numbers are drawn there, then moved.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["sample_boxes", "sample_clicks", "sample_corrections"]


def _draw(weight: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw one pixel (O, 2) xy with probability proportional to ``weight`` (O, H, W); the middle where it is all 0."""
    height, width = weight.shape[-2:]
    flat = weight.flatten(1)
    empty = flat.sum(1) <= 0
    until = flat.double().cumsum(1)  # the inverse of this sum at a uniform number is a draw
    uniform = torch.rand(len(flat), 1, generator=generator).to(flat.device)
    index = torch.searchsorted(until, uniform * until[:, -1:], right=True).clamp(max=flat.shape[1] - 1)[:, 0]
    xy = torch.stack([index % width, index.div(width, rounding_mode="floor")], 1).float()
    return torch.where(empty[:, None], xy.new_tensor([width / 2, height / 2]), xy)


def _inner(region: Tensor) -> Tensor:
    """Weight (O, H, W) of a 0/1 region that prefers its inside over its rim."""
    side = max(3, region.shape[-1] // 24 * 2 + 1)
    share = F.avg_pool2d(region[:, None], side, stride=1, padding=side // 2)[:, 0]
    return region * share**3


def sample_clicks(masks: Tensor, size: int, generator: torch.Generator | None = None) -> Tensor:
    """Return one positive click per object.

    Args:
        masks: (O, H, W) float 0/1.
        size: the model's image size; masks may be smaller.
        generator: source of randomness.

    Returns:
        (O, 1, 2) xy in px of the model's image.
    """
    return ((_draw(_inner(masks), generator) + 0.5) * (size / masks.shape[-1]) - 0.5)[:, None]


def sample_boxes(masks: Tensor, size: int, jitter: float = 0.08, generator: torch.Generator | None = None) -> Tensor:
    """Return the corners of a box around each object, moved by up to ``jitter`` of the box's sides.

    Args:
        masks: (O, H, W) float 0/1.
        size: the model's image size.
        jitter: largest shift of an edge, in box widths and heights.
        generator: source of randomness.

    Returns:
        (O, 2, 2) xy of the upper left and lower right corner, px of the model's image.
    """
    height, width = masks.shape[-2:]
    columns, rows = masks.amax(1) > 0.5, masks.amax(2) > 0.5  # (O, W), (O, H)

    def span(line: Tensor, length: int) -> tuple[Tensor, Tensor]:
        first = line.float().argmax(1)
        last = length - line.flip(1).float().argmax(1)
        return first.float(), last.float()

    (x0, x1), (y0, y1) = span(columns, width), span(rows, height)
    box = torch.stack([x0, y0, x1, y1], 1)
    sides = torch.stack([x1 - x0, y1 - y0] * 2, 1)
    noise = torch.rand(box.shape, generator=generator) * 2 - 1
    box = (box + noise.to(box.device) * jitter * sides) * (size / width)
    return box.clamp(0, size).reshape(-1, 2, 2)


def sample_corrections(
    logits: Tensor, masks: Tensor, size: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Return a click on the larger kind of error of each object.

    Args:
        logits: (O, h, w) predicted logits; resized to the masks.
        masks: (O, H, W) float 0/1.
        size: the model's image size.
        generator: source of randomness.

    Returns:
        Points (O, 1, 2) xy in px of the model's image, and labels (O, 1): 1 where something is missing, 0 where there
        is too much. A mask without errors gets a click inside of the object.
    """
    predicted = F.interpolate(logits[:, None].float(), size=masks.shape[-2:], mode="bilinear", align_corners=False)
    mask = (predicted[:, 0] > 0).float()
    missing, extra = masks * (1 - mask), mask * (1 - masks)
    positive = missing.sum((1, 2)) >= extra.sum((1, 2))
    region = torch.where(positive[:, None, None], missing, extra)
    perfect = region.sum((1, 2)) == 0
    region = torch.where(perfect[:, None, None], masks, region)
    points = (_draw(_inner(region), generator) + 0.5) * (size / masks.shape[-1]) - 0.5
    return points[:, None], (positive | perfect).long()[:, None]
