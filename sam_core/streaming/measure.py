"""Boxes, areas and centroids of masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def measure_masks(masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Measure masks (N, H, W) bool.

    Returns:
        Boxes (N, 4) int64 xyxy px with exclusive maxima (zeros where empty), areas (N,) int64 px, centroids (N, 2)
        float32 xy px (NaN where empty).
    """
    columns, rows = count_pixels(masks)
    areas = rows.sum(1)
    height, width = masks.shape[1:]
    xs = torch.arange(width, device=masks.device)
    ys = torch.arange(height, device=masks.device)

    def span(counts: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        filled = counts > 0
        first = torch.where(filled, places, places.numel()).amin(1)
        last = torch.where(filled, places + 1, 0).amax(1)
        return torch.where(areas > 0, first, 0), last

    (x_min, x_max), (y_min, y_max) = span(columns, xs), span(rows, ys)
    centroids = torch.stack(((columns * xs).sum(1), (rows * ys).sum(1)), dim=1) / areas[:, None].float()
    return torch.stack((x_min, y_min, x_max, y_max), dim=1), areas, centroids


def count_pixels(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Count the pixels of masks (N, H, W) bool per column, (N, W) int64, and per row, (N, H) int64.

    Eight pixels are added at a time: a row is read as 64-bit numbers, whose bytes, 0 or 1 each, do not overflow into
    each other in a sum of at most 255.
    """
    width = masks.shape[2]
    bytes_ = masks.contiguous().view(torch.uint8)
    eights = (F.pad(bytes_, (0, -width % 8)) if width % 8 else bytes_).view(torch.int64)  # (N, H, W / 8)

    def add_up(dim: int) -> Tensor:  # (N, other, 8), the last being the bytes
        sums = [part.sum(dim).view(torch.uint8).long() for part in eights.split(255, dim)]
        return torch.stack(sums).sum(0).unflatten(1, (-1, 8))

    return add_up(1).flatten(1)[:, :width], add_up(2).sum(-1)
