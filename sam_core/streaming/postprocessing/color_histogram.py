"""Non-overlapping masks by colour: pixels of two masks go to the object whose colours they have.

A tracker that follows each object by itself can let two of them end on the same thing, for instance after they crossed.
The prompt tells how an object looks: a histogram of the colours under its mask, looked up where masks overlap
(back-projection; Swain and Ballard, "Color Indexing", 1991, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.streaming.postprocessing.base import MaskPostprocessor, ObjectMasks

_LEVELS = 8  # of red, green and blue each
_RARE = 0.003  # added to the share of every colour, so that one that was not seen is unlikely rather than impossible
_MOST = 3.0  # of the log-likelihood ratio of a pixel: none outvotes all its neighbours
_CLEARLY = 0.1  # mean log-likelihood ratio from which on pixels are one object's rather than the other's
_REACH = 0.2  # side of the square over which that mean is taken, in sides of the image
_COMMON = 0.1  # share of the smaller mask from which on two masks overlap
_LEAST = 0.2  # share of its mask that an object must be left with; with less it is not there


def colours_of(image: Tensor, side: int) -> Tensor:
    """Return the colour bins (side²,) int16 of an image (3, H, W), levels to 255, sampled on a grid of side × side."""
    rows, columns = (
        ((torch.arange(side, dtype=torch.float32, device=image.device) + 0.5) * (length / side)).long()
        for length in image.shape[1:]
    )
    red, green, blue = image[:, rows][:, :, columns].flatten(1).short() * _LEVELS // 256
    return (red * _LEVELS + green) * _LEVELS + blue


def histogram_of(mask: Tensor, colours: Tensor) -> Tensor:
    """Return the log-likelihood (512,) float32 of each colour under a mask (P,) bool, given colour bins (P,)."""
    weights = mask.float()
    counts = torch.zeros(_LEVELS**3, dtype=torch.float32, device=mask.device).scatter_add_(0, colours.long(), weights)
    return (counts / weights.sum().clamp(min=1) + _RARE).log()


class ColorHistogramOverlap(MaskPostprocessor):
    """Resolve overlaps by the colours that the objects had when they were prompted.

    Where a pixel goes to another object, the logit is mirrored at the threshold. An object that is left with next to
    nothing is suppressed, and its score becomes negative.
    """

    needs_image = True
    saved_reference = ("color_histogram", (_LEVELS**3,))

    def reference(self, masks: ObjectMasks, image: Tensor | None) -> Tensor | None:
        """Return the colour histogram of an object; None for an empty mask."""
        assert image is not None
        mask = masks.logits[0] > masks.threshold
        return histogram_of(mask.flatten(), colours_of(image, mask.shape[0])) if mask.any() else None

    def __call__(self, masks: ObjectMasks, image: Tensor | None, references: Sequence[Any]) -> ObjectMasks:
        """Give pixels that two masks have in common to one of them, where the histograms say clearly to which."""
        if masks.logits.shape[0] < 2:
            return masks
        assert image is not None
        threshold, grid = masks.threshold, masks.logits.shape[-2:]
        logits = masks.logits.flatten(1)
        on = logits > threshold
        common = (on.float() @ on.float().t()).tolist()  # on a GPU the step waits here once more
        rivals = [
            (a, b)
            for a, b in combinations(range(len(references)), 2)
            if common[a][b] > _COMMON * min(common[a][a], common[b][b])
            and references[a] is not None
            and references[b] is not None
        ]
        if not rivals:
            return masks
        colours = colours_of(image, grid[0]).long()
        shown = logits.clone()
        for a, b in rivals:
            both = on[a] & on[b]
            ratio = (references[a] - references[b])[colours].clamp(-_MOST, _MOST)
            evidence = _local_mean(ratio.unflatten(0, grid), both.unflatten(0, grid)).flatten()
            for lost, kept, clear in ((a, b, evidence < -_CLEARLY), (b, a, evidence > _CLEARLY)):
                mirrored = torch.minimum(shown[lost], 2 * threshold - logits[kept])
                shown[lost] = torch.where(both & clear, mirrored, shown[lost])
        left = (shown > threshold).sum(1).tolist()
        suppressed = [after < _LEAST * before[k] for k, (before, after) in enumerate(zip(common, left, strict=True))]
        gone = torch.tensor(suppressed, device=shown.device)
        shown = torch.where(gone[:, None], torch.minimum(shown, 2 * threshold - shown), shown)
        return replace(
            masks,
            logits=shown.unflatten(1, grid),
            scores=torch.where(gone, -masks.scores.abs(), masks.scores),
            suppressed=tuple(was or now for was, now in zip(masks.suppressed, suppressed, strict=True)),
        )


def _local_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return, at each place of a mask (h, w) bool, the mean of values (h, w) over the mask's places around it."""
    size = int(_REACH * mask.shape[0]) // 2 * 2 + 1
    sums = torch.stack([values * mask, mask.to(values.dtype)])[:, None]
    for kernel in ((size, 1), (1, size)):
        sums = F.avg_pool2d(sums, kernel, stride=1, padding=(kernel[0] // 2, kernel[1] // 2))
    return sums[0, 0] / sums[1, 0].clamp(min=1e-6)
