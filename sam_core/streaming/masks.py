"""From mask logits at the network's resolution to masks at an image's size."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


def logits_at(low_res: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize mask logits (N, h, w) to an image's size (H, W) in px, bilinearly, as the official predictor does."""
    return F.interpolate(low_res[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def logits_at_pixels(
    low_res: Tensor, size: tuple[int, int], rows: ArrayLike, columns: ArrayLike
) -> NDArray[np.float32]:
    """Return the logits of N masks at K pixels of an image: those of `logits_at` to rounding, without making them all.

    Args:
        low_res: (N, h, w) mask logits.
        size: (H, W) of the image in px.
        rows: (K,) y in px.
        columns: (K,) x in px.

    Returns:
        (N, K).
    """
    height, width = size
    # Pixel centres in the coordinates of `grid_sample`: -1 … 1 from edge to edge.
    places = np.stack((2 * np.add(columns, 0.5) / width - 1, 2 * np.add(rows, 0.5) / height - 1), axis=-1)
    grid = torch.from_numpy(places).to(low_res)[None, None]  # (1, 1, K, 2)
    sampled = F.grid_sample(low_res[None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled[0, :, 0].cpu().numpy()


def logit_at(low_res: Tensor, size: tuple[int, int], row: int, column: int) -> float:
    """Return the logit of one mask (h, w) at a pixel of an image of size (H, W)."""
    return float(logits_at_pixels(low_res[None], size, [row], [column])[0, 0])


def masks_at(low_res: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Return where logits (N, h, w), resized to an image's size (H, W) in px, are above a threshold: (N, H, W) bool."""
    return logits_at(low_res, size) > threshold


def mask_at(mask: NDArray[np.bool_], side: int, device: torch.device) -> Tensor:
    """Bring a mask (H, W) to the square that a network takes: (1, 1, side, side) float32 of 0 and 1 on a device."""
    pixels = torch.from_numpy(mask).to(device).float()[None, None]
    if pixels.shape[-2:] == (side, side):
        return pixels
    pixels = F.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    return (pixels >= 0.5).float()
