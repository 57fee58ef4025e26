"""Mask refinement by a guided filter: masks end where the colours of the image change.

The network draws masks on a grid of stride 4. Stretched to the image they are round where objects have corners, and off
by some pixels. The guided filter takes the image as a guide: in every small square the mask is explained as a linear
function of red, green and blue, so that it steps where the colours step (He, Sun and Tang, "Guided Image Filtering",
2013, sections 3.1 and 3.4). The functions are fitted on the mask's grid and applied to the image (He and Sun, "Fast
Guided Filter", 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.streaming.masks import extents
from sam_core.streaming.postprocessing.base import ObjectMasks

_RADIUS = 3  # of the squares, in places of the mask's grid
_NOISE = 3e-4  # variance of colours, in 0 … 1, that says nothing
_GAIN = 3.0  # of the contrast between the two passes
_BAND = 2  # places on each side of the mask's edge in which pixels may change
_MARGIN = 8  # places around an object that are looked at
_SLOPE = 4.0  # of the logit where the probability is one half


class GuidedFilterRefinement:
    """Refine the masks that are shown."""

    needs_image = True

    def reference(self, masks: ObjectMasks, image: Tensor | None) -> None:
        """Return nothing."""

    def __call__(self, masks: ObjectMasks, image: Tensor | None, references: Sequence[Any]) -> ObjectMasks:
        """Return logits (N, S, S) at the size of the network's input."""
        assert image is not None
        return replace(masks, logits=refine(masks.logits, image, masks.threshold))


def refine(low_res: Tensor, image: Tensor, threshold: float) -> Tensor:
    """Move the edges of masks to the edges of an image.

    Only pixels near a mask's edge change. A mask that would shrink to less than half, or grow to more than twice, what
    it covers stays as it is.

    Args:
        low_res: (N, h, w) float32 mask logits.
        image: (3, H, W) levels to 255, uint8 or float32; H and W are the same multiple of h and w.
        threshold: of the masks.

    Returns:
        (N, H, W) float32 logits.
    """
    scale = image.shape[-1] // low_res.shape[-1]
    fine = F.interpolate(low_res[:, None], scale_factor=scale, mode="bilinear", align_corners=False)[:, 0]
    longest = max(low_res.shape[1:])
    if low_res.device.type != "cpu":
        return _guided(low_res, fine, image, threshold, longest)
    for k, (rows, columns) in enumerate(extents(low_res, threshold)):
        if rows is not None and columns is not None:  # on a CPU only where the object is
            (top, bottom), (left, right) = _around(rows, low_res.shape[1]), _around(columns, low_res.shape[2])
            down, across = slice(top * scale, bottom * scale), slice(left * scale, right * scale)
            part, window = fine[k : k + 1, down, across], image[:, down, across]
            part.copy_(_guided(low_res[k : k + 1, top:bottom, left:right], part, window, threshold, longest))
    return fine


def _around(span: tuple[int, int], length: int) -> tuple[int, int]:
    """Return the half-open range of places around the first and the last one of an object."""
    return max(0, span[0] - _MARGIN), min(length, span[1] + 1 + _MARGIN)


def _guided(low_res: Tensor, fine: Tensor, image: Tensor, threshold: float, longest: int) -> Tensor:
    """Return the logits `fine` (N, H, W), which are `low_res` stretched, with pixels near the masks' edges replaced.

    No (h, w) is longer than `longest`.
    """
    scale = image.shape[-1] // low_res.shape[-1]
    colours = image.contiguous().float() / 255  # channel by channel is faster here
    guide = Guide(F.avg_pool2d(colours, scale), LocalMean(low_res, _RADIUS, longest))
    lines = guide.fit((low_res - threshold).sigmoid())
    sharper = ((guide.apply(lines) - 0.5) * _GAIN + 0.5).clamp(0, 1)
    lines = guide.fit(sharper)
    stretched = F.interpolate(lines, scale_factor=scale, mode="bilinear", align_corners=False)
    share = _evaluate(stretched, colours)

    mask = (low_res > threshold).to(low_res.dtype)
    around, least = LocalMean(mask, _BAND, longest)(mask), 0.5 / (2 * _BAND + 1) ** 2
    near = (around > least) & (around < 1 - least)  # places of both kinds
    before, after = mask.sum((1, 2)), (guide.apply(lines) > 0.5).sum((1, 2))
    sane = (2 * after >= before) & (after <= 2 * before)
    allowed = (near & sane[:, None, None]).repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    return torch.where(allowed, (share - 0.5) * _SLOPE + threshold, fine)


class LocalMean:
    """Means over the square around each place of a map, as far as it lies within.

    Args:
        like: (..., h, w), a map of that size and device.
        radius: of the squares, in places.
        longest: no map is longer; what is kept for the next one is made for this length.
    """

    def __init__(self, like: Tensor, radius: int, longest: int) -> None:
        near = _near(longest, radius, like.device)
        down, across = (near[:n, :n] for n in like.shape[-2:])
        self._down = down / down.sum(1, keepdim=True)
        self._across = (across / across.sum(1, keepdim=True)).t()

    def __call__(self, values: Tensor) -> Tensor:
        """Return the means of values (..., h, w)."""
        return self._down @ values @ self._across


@lru_cache(maxsize=16)
def _near(length: int, radius: int, device: torch.device) -> Tensor:
    """Return 1 where two of `length` places are no further apart than the radius, else 0: (length, length)."""
    with torch.inference_mode(False), torch.no_grad():
        places = torch.arange(length, device=device)
        return ((places[:, None] - places).abs() <= radius).float()


class Guide:
    """What masks are fitted to: a image on the masks' grid, with its local statistics.

    Args:
        colours: (3, h, w) float32, 0 … 1.
        local_mean: over the squares in which masks are fitted.
    """

    def __init__(self, colours: Tensor, local_mean: LocalMean) -> None:
        self._colours = colours
        self._local_mean = local_mean
        products = (colours[:, None] * colours).flatten(0, 1)
        means = local_mean(torch.cat((colours, products)))
        self._mean = means[:3]
        covariance = means[3:].unflatten(0, (3, 3)) - self._mean[:, None] * self._mean
        covariance.diagonal(dim1=0, dim2=1).add_(_NOISE)
        red, green, blue = covariance
        pairs = (green, blue), (blue, red), (red, green)
        cofactors = torch.stack([torch.linalg.cross(*pair, dim=0) for pair in pairs])
        self._inverse = cofactors / (red * cofactors[0]).sum(0)  # (3, 3, h, w)

    def fit(self, shares: Tensor) -> Tensor:
        """Explain shares (N, h, w), 0 … 1, by the colours: (N, 4, h, w) three slopes and an offset at each place."""
        shares = shares[:, None]
        means = self._local_mean(torch.cat((self._colours * shares, shares), dim=1))
        covariance = means[:, :3] - self._mean * means[:, 3:]
        slopes = (self._inverse * covariance[:, :, None]).sum(1)
        offsets = means[:, 3:] - (slopes * self._mean).sum(1, keepdim=True)
        return self._local_mean(torch.cat((slopes, offsets), dim=1))

    def apply(self, lines: Tensor) -> Tensor:
        """Return the shares (N, h, w) that `fit` explains."""
        return _evaluate(lines, self._colours)


def _evaluate(lines: Tensor, colours: Tensor) -> Tensor:
    """Return slopes times colours plus offset, (N, h, w)."""
    red, green, blue, offset = lines.unbind(1)
    return offset.addcmul(red, colours[0]).addcmul_(green, colours[1]).addcmul_(blue, colours[2])
