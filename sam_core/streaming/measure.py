"""Boxes, areas and centroids of masks."""

from __future__ import annotations

import torch
from torch import Tensor


def measure_masks(masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Measure masks (N, H, W) bool.

    Returns:
        Boxes (N, 4) int64 xyxy px with exclusive maxima (zeros where empty), areas (N,) int64 px, centroids (N, 2)
        float32 xy px (NaN where empty). The origin of all is the outer corner of the top-left pixel, whose centre thus
        is (0.5, 0.5).
    """
    columns, rows = (masks.sum(dim, dtype=torch.int32) for dim in (1, 2))  # pixels of each; int64 is slow on a CPU
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
    centroids = torch.stack(((columns * xs).sum(1), (rows * ys).sum(1)), dim=1) / areas[:, None].float() + 0.5
    return torch.stack((x_min, y_min, x_max, y_max), dim=1), areas, centroids
