"""Masks that end where the picture's things do: the network's mask at a quarter of its picture's side, made finer.

The network draws masks on a grid of stride 4. Stretched over the image they are round where things have corners, and
off by some pixels. The guided filter takes the picture as a guide: in every small square the mask is explained as a
linear function of red, green and blue, so that it steps where the colours step (He, Sun and Tang, "Guided Image
Filtering", 2013, sections 3.1 and 3.4). The functions are fitted on the mask's grid and applied to the picture (He and
Sun, "Fast Guided Filter", 2015). This changes what is shown; what is remembered of an object is left alone.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.streaming.masks import spans

_RADIUS = 3  # of the squares, in places of the mask's grid
_NOISE = 3e-4  # variance of colours, in 0 … 1, that says nothing
_GAIN = 3.0  # of the contrast between the two passes
_BAND = 2  # places on each side of the mask's edge in which pixels may change
_MARGIN = 8  # places around an object that are looked at
_SHARES = (1 / 3, 1 / 2, 2 / 3)  # of the picture's side, sides of the windows that are looked at
_BATCH = 4  # objects at once: more do not stay in the cache
_SLOPE = 4.0  # of the logit where the probability is one half


def refined(low_res: Tensor, picture: Tensor, threshold: float) -> Tensor:
    """Let masks end at the edges of a picture.

    Only pixels near a mask's edge change. A mask that would shrink to less than half, or grow to more than twice, what
    it covers stays as it is.

    Args:
        low_res: (N, h, h) float32 mask logits.
        picture: (3, H, H) levels to 255, uint8 or float32; H is a multiple of h.
        threshold: of the masks.

    Returns:
        (N, H, H) float32 logits.
    """
    scale = picture.shape[-1] // low_res.shape[-1]
    fine = F.interpolate(low_res[:, None], scale_factor=scale, mode="bilinear", align_corners=False)[:, 0]
    if low_res.device.type != "cpu":
        return _guided(low_res, fine, picture[None], threshold)
    for side, objects in _windows(low_res > threshold).items():  # on a CPU only where objects are
        for some in (objects[i : i + _BATCH] for i in range(0, len(objects), _BATCH)):
            coarse = torch.stack([low_res[k, y : y + side, x : x + side] for k, y, x in some])
            places = [
                (k, slice(y * scale, (y + side) * scale), slice(x * scale, (x + side) * scale)) for k, y, x in some
            ]
            before = torch.stack([fine[place] for place in places])
            window = torch.stack([picture[:, down, across] for _, down, across in places])
            for place, after in zip(places, _guided(coarse, before, window, threshold), strict=True):
                fine[place] = after
    return fine


def _windows(masks: Tensor) -> dict[int, list[tuple[int, int, int]]]:
    """Return square windows around the objects of masks (N, h, h) bool: by side, the objects' rows, tops and lefts.

    There are few sides, so that several objects can be refined as a batch.
    """
    length = masks.shape[-1]
    sides = [math.ceil(share * length) for share in _SHARES]
    found: dict[int, list[tuple[int, int, int]]] = {}
    for k, (rows, columns) in enumerate(zip(spans(masks.any(2)), spans(masks.any(1)), strict=True)):
        if rows is not None and columns is not None:
            longest = max(rows[1] - rows[0], columns[1] - columns[0]) + 1 + 2 * _MARGIN
            side = next((side for side in sides if side >= longest), length)
            top, left = (min(max((sum(span) + 1 - side) // 2, 0), length - side) for span in (rows, columns))
            found.setdefault(side, []).append((k, top, left))
    return found


def _guided(low_res: Tensor, fine: Tensor, pictures: Tensor, threshold: float) -> Tensor:
    """Replace the pixels near the edges of masks.

    Args:
        low_res: (N, h, h) logits.
        fine: (N, H, H) the same, stretched.
        pictures: (N or 1, 3, H, H) levels.
        threshold: of the masks.

    Returns:
        `fine` with other pixels near the edges.
    """
    scale = pictures.shape[-1] // low_res.shape[-1]
    colours = pictures.float() / 255
    guide = Guide(F.avg_pool2d(colours, scale))
    lines = guide.fit((low_res - threshold).sigmoid())
    sharper = ((guide.apply(lines) - 0.5) * _GAIN + 0.5).clamp(0, 1)
    lines = guide.fit(sharper)
    share = _evaluate(F.interpolate(lines, scale_factor=scale, mode="bilinear", align_corners=False), colours)

    mask = (low_res > threshold).to(low_res.dtype)
    size = 2 * _BAND + 1
    near = F.max_pool2d(mask, size, 1, _BAND) + F.max_pool2d(-mask, size, 1, _BAND) > 0
    before, after = mask.sum((1, 2)), (guide.apply(lines) > 0.5).sum((1, 2))
    sane = (2 * after >= before) & (after <= 2 * before)
    allowed = (near & sane[:, None, None]).repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    return torch.where(allowed, (share - 0.5) * _SLOPE + threshold, fine)


class Guide:
    """What masks are fitted to: pictures on the masks' grid, with their local statistics.

    Args:
        colours: (B, 3, h, w) float32, 0 … 1; one for each mask, or one for all.
    """

    def __init__(self, colours: Tensor) -> None:
        self._colours = colours
        products = (colours[:, :, None] * colours[:, None]).flatten(1, 2)
        means = _local_mean(torch.cat((colours, products), dim=1))
        self._mean = means[:, :3]
        covariance = means[:, 3:].unflatten(1, (3, 3)) - self._mean[:, :, None] * self._mean[:, None]
        covariance.diagonal(dim1=1, dim2=2).add_(_NOISE)
        red, green, blue = covariance.unbind(1)
        pairs = (green, blue), (blue, red), (red, green)
        cofactors = torch.stack([torch.linalg.cross(*pair, dim=1) for pair in pairs], dim=1)
        self._inverse = cofactors / (red * cofactors[:, 0]).sum(1)[:, None, None]  # (B, 3, 3, h, w)

    def fit(self, shares: Tensor) -> Tensor:
        """Explain shares (N, h, w), 0 … 1, by the colours: (N, 4, h, w), three slopes and an offset at each place."""
        shares = shares[:, None]
        means = _local_mean(torch.cat((self._colours * shares, shares), dim=1))
        covariance = means[:, :3] - self._mean * means[:, 3:]
        slopes = (self._inverse * covariance[:, :, None]).sum(1)
        offsets = means[:, 3:] - (slopes * self._mean).sum(1, keepdim=True)
        return _local_mean(torch.cat((slopes, offsets), dim=1))

    def apply(self, lines: Tensor) -> Tensor:
        """Return the shares (N, h, w) that `fit` explains."""
        return _evaluate(lines, self._colours)


def _evaluate(lines: Tensor, colours: Tensor) -> Tensor:
    """Return slopes times colours plus offset, (N, h, w)."""
    offset = lines[:, 3]
    for channel in range(3):
        offset = offset.addcmul(lines[:, channel], colours[:, channel])
    return offset


def _local_mean(values: Tensor) -> Tensor:
    """Return the mean of values (..., h, w) over the square around each place, as far as it lies within."""
    down, across = (_means(n, values.device) for n in values.shape[-2:])
    return down @ values @ across.t()


@lru_cache(maxsize=512)
def _means(length: int, device: torch.device) -> Tensor:
    """Return the (length, length) matrix that takes the mean over a window around each place."""
    with torch.inference_mode(False), torch.no_grad():
        places = torch.arange(length, device=device)
        near = ((places[:, None] - places).abs() <= _RADIUS).float()
        return near / near.sum(1, keepdim=True)
