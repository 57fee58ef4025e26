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
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.streaming.postprocessing.base import MaskPostprocessor, ObjectMasks

_RADIUS = 3  # of the squares, in places of the mask's grid
_NOISE = 3e-4  # variance of colours, in 0 … 1, that says nothing
_GAIN = 3.0  # of the contrast between the two passes
_BAND = 2  # places on each side of the mask's edge in which pixels may change
_SLOPE = 4.0  # of the logit where the probability is one half


class GuidedFilterRefinement(MaskPostprocessor):
    """Refine the masks that are shown."""

    needs_image = True

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
    colours = image.float() / 255
    guide = Guide(F.avg_pool2d(colours, scale))
    lines = guide.fit((low_res - threshold).sigmoid())
    sharper = ((guide.apply(lines) - 0.5) * _GAIN + 0.5).clamp(0, 1)
    lines = guide.fit(sharper)
    share = _evaluate(_stretch(lines, scale), colours)

    mask = (low_res > threshold).to(low_res.dtype)
    around, least = _local_mean(mask, _BAND), 0.5 / (2 * _BAND + 1) ** 2
    near = (around > least) & (around < 1 - least)  # places of both kinds
    before, after = mask.sum((1, 2)), (guide.apply(lines) > 0.5).sum((1, 2))
    sane = (2 * after >= before) & (after <= 2 * before)
    allowed = (near & sane[:, None, None]).repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    return torch.where(allowed, (share - 0.5) * _SLOPE + threshold, _stretch(low_res[:, None], scale)[:, 0])


def _stretch(maps: Tensor, scale: int) -> Tensor:
    """Enlarge maps (N, C, h, w) bilinearly."""
    return F.interpolate(maps, scale_factor=scale, mode="bilinear", align_corners=False)


def _local_mean(values: Tensor, radius: int) -> Tensor:
    """Return means of maps (..., h, w) over the square around each place, as far as it lies within."""
    down, across = (_near(length, radius, values.device) for length in values.shape[-2:])
    return down @ values @ across.t()


def _near(length: int, radius: int, device: torch.device) -> Tensor:
    """Return the weights (length, length) of a mean over the places that are at most `radius` away."""
    places = torch.arange(length, device=device)
    near = ((places[:, None] - places).abs() <= radius).float()
    return near / near.sum(1, keepdim=True)


class Guide:
    """What masks are fitted to: an image on the masks' grid, with its local statistics.

    Args:
        colours: (3, h, w) float32, 0 … 1.
    """

    def __init__(self, colours: Tensor) -> None:
        self._colours = colours
        products = (colours[:, None] * colours).flatten(0, 1)
        means = _local_mean(torch.cat((colours, products)), _RADIUS)
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
        means = _local_mean(torch.cat((self._colours * shares, shares), dim=1), _RADIUS)
        covariance = means[:, :3] - self._mean * means[:, 3:]
        slopes = (self._inverse * covariance[:, :, None]).sum(1)
        offsets = means[:, 3:] - (slopes * self._mean).sum(1, keepdim=True)
        return _local_mean(torch.cat((slopes, offsets), dim=1), _RADIUS)

    def apply(self, lines: Tensor) -> Tensor:
        """Return the shares (N, h, w) that `fit` explains."""
        return _evaluate(lines, self._colours)


def _evaluate(lines: Tensor, colours: Tensor) -> Tensor:
    """Return slopes times colours plus offset, (N, h, w)."""
    red, green, blue, offset = lines.unbind(1)
    return offset.addcmul(red, colours[0]).addcmul_(green, colours[1]).addcmul_(blue, colours[2])
