"""From low-resolution logits to masks at an image's size, a bounded number of them at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sam_core.still_images.network import ImageNetwork

_MOST_BYTES = 64 * 2**20  # of float32 logits at the image's size that exist at once
STABILITY_OFFSET = 1.0  # logits, as published


def in_parts(network: ImageNetwork, low_res: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Bring logits (N, m, m) to an image of `size` (H, W) part by part.

    Yields:
        Which of the N they are, and their logits (n, H, W).
    """
    pixels = max(size[0] * size[1], network.image_size**2)
    count = max(1, _MOST_BYTES // (4 * pixels))
    for start in range(0, low_res.shape[0], count):
        rows = slice(start, start + count)
        yield rows, network.logits_to_image(low_res[rows], size)


def stability(logits: Tensor, threshold: float = 0.0, offset: float = STABILITY_OFFSET) -> Tensor:
    """Return the IoU of the masks above `threshold + offset` and above `threshold - offset`.

    Source: "Segment Anything" (Kirillov et al., 2023), appendix B, "Stability".

    Args:
        logits: (N, H, W).
        threshold: where a mask begins.
        offset: to both sides of it.

    Returns:
        (N,) float32, 0 … 1; 0 where both masks are empty.
    """
    inner = (logits > threshold + offset).flatten(1).sum(1)
    outer = (logits > threshold - offset).flatten(1).sum(1)
    return inner / outer.clamp_min(1)


def masks_and_stability(
    network: ImageNetwork, low_res: Tensor, size: tuple[int, int], threshold: float
) -> tuple[Tensor, Tensor]:
    """Return the masks (N, H, W) bool of logits (N, m, m), and their stability (N,)."""
    masks = torch.empty((low_res.shape[0], *size), dtype=torch.bool, device=low_res.device)
    stable = torch.empty(low_res.shape[0], dtype=torch.float32, device=low_res.device)
    for rows, logits in in_parts(network, low_res, size):
        masks[rows] = logits > threshold
        stable[rows] = stability(logits, threshold)
    return masks, stable
