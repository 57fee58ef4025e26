"""From mask logits at the network's resolution to masks at an image's size."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Span = tuple[int, int]  # first and last place


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
    """Return where the logits (N, h, w), resized to an image's size (H, W) in px, are above a threshold.

    On a CPU only the part of the image is resized where an object can be: a weighted mean of four logits is not above
    the threshold unless one of them is.

    Returns:
        (N, H, W) bool.
    """
    if low_res.device.type != "cpu":
        return logits_at(low_res, size) > threshold
    masks = torch.zeros(low_res.shape[0], *size, dtype=torch.bool)
    for logits, mask, (rows, columns) in zip(low_res, masks, extents(low_res, threshold), strict=True):
        if rows is not None and columns is not None:
            down, (top, bottom), (first, last) = _stretch(rows, logits.shape[0], size[0])
            across, (left, right), (begin, end) = _stretch(columns, logits.shape[1], size[1])
            if 3 * (bottom - top) * (right - left) > size[0] * size[1]:  # PyTorch's own way costs the same everywhere
                torch.gt(logits_at(logits[None], size)[0], threshold, out=mask)
            else:
                resized = down @ (logits[first:last, begin:end] @ across.t())
                torch.gt(resized, threshold, out=mask[top:bottom, left:right])
    return masks


def extents(low_res: Tensor, threshold: float) -> list[tuple[Span | None, Span | None]]:
    """Return the first and the last row, and column, of logits (N, h, w) with one above a threshold; None if none is.

    The highest logit of each line is found faster than the logits are compared.
    """
    lines = (_spans(low_res.amax(along) > threshold) for along in (2, 1))
    return list(zip(*lines, strict=True))


def _spans(filled: Tensor) -> list[Span | None]:
    """Return the first and the last place that is filled in each line (N, n) bool; None in an empty line."""
    n = filled.shape[1]
    first = filled.int().argmax(1).tolist()
    last = (n - 1 - filled.flip(1).int().argmax(1)).tolist()
    some = filled.any(1).tolist()
    return [(a, b) if is_some else None for a, b, is_some in zip(first, last, some, strict=True)]


def _stretch(span: Span, n: int, length: int) -> tuple[Tensor, tuple[int, int], tuple[int, int]]:
    """Return how the pixels of an image's side that see places `span` are computed from the places that they see.

    Args:
        span: first and last of the n places.
        n: places of the network's mask along this side.
        length: pixels along it.

    Returns:
        The weights (pixels, places), the pixels and the places as half-open ranges.
    """
    scale = length / n
    begin = max(0, math.floor((span[0] - 0.5) * scale - 0.5))
    end = min(length, math.ceil((span[1] + 1.5) * scale + 0.5))
    weights, lower = _weights(n, length)
    first, last = lower[begin], min(n, lower[end - 1] + 2)
    return weights[begin:end, first:last], (begin, end), (first, last)


@lru_cache(maxsize=16)
def _weights(n: int, length: int) -> tuple[Tensor, list[int]]:
    """Return the weights (length, n) of bilinear resizing along one side, and each pixel's lower place."""
    with torch.inference_mode(False), torch.no_grad():
        place = ((torch.arange(length, dtype=torch.float32) + 0.5) * (n / length) - 0.5).clamp_min(0)
        lower = place.floor().long().clamp_max(n - 1)
        share = (place - lower)[:, None]
        weights = F.one_hot(lower, n) * (1 - share) + F.one_hot((lower + 1).clamp_max(n - 1), n) * share
        return weights.float(), lower.tolist()
