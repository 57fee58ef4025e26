"""One thing, one object: pixels that several masks claim go to the object whose colours they have.

A tracker that follows each object by itself lets two of them end on the same thing, or each cover both, for instance
after they crossed. What was prompted tells whose pixels they are: histograms of its colours, looked up where masks
overlap (back-projection; Swain and Ballard, "Color Indexing", 1991, section 4). This changes what is shown. What is
remembered of an object is left alone, so that objects do not depend on each other, and an error costs one frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.streaming.policy import Observation
from sam_core.streaming.tracking import Tracked

_LEVELS = 8  # of red, green and blue each
_RARE = 0.003  # added to the share of every colour, so that one that was not seen is unlikely rather than impossible
_MOST = 3.0  # of the log-likelihood ratio of a pixel: none outvotes all its neighbours
_CLEARLY = 0.1  # mean log-likelihood ratio from which on pixels are one object's rather than the other's
_REACH = 0.2  # side of the square over which that mean is taken, in sides of the image
_COMMON = 0.1  # share of the smaller mask from which on two masks overlap
_LEAST = 0.2  # share of its mask that an object must be left with; with less it is not there


def colours_of(picture: Tensor, side: int) -> Tensor:
    """Return the colour bins (side²,) int16 of a picture (3, H, W), levels to 255, sampled on a grid of side × side."""
    rows, columns = (
        ((torch.arange(side, device=picture.device) + 0.5) * (length / side)).long() for length in picture.shape[1:]
    )
    red, green, blue = picture[:, rows][:, :, columns].flatten(1).short() * _LEVELS // 256
    return (red * _LEVELS + green) * _LEVELS + blue


def look_of(mask: Tensor, colours: Tensor) -> Tensor:
    """Return the log-likelihood (512,) float32 of each colour under a mask (P,) bool, given colour bins (P,)."""
    weights = mask.float()
    counts = torch.zeros(_LEVELS**3, device=mask.device).scatter_add_(0, colours.long(), weights)
    return (counts / weights.sum().clamp(min=1) + _RARE).log()


class Overlaps:
    """The looks of a stream's objects, and what these say where masks overlap."""

    def __init__(self) -> None:
        self._looks: dict[int, Tensor] = {}

    def prompted(self, object_id: int, mask: Tensor, colours: Tensor) -> None:
        """Take the look of an object from what its newest prompt chose: mask (P,) bool, colours (P,)."""
        self.forget(object_id)
        if mask.any():
            self._looks[object_id] = look_of(mask, colours)

    def forget(self, object_id: int) -> None:
        """Forget an object."""
        self._looks.pop(object_id, None)

    def settle(
        self,
        object_ids: Sequence[int],
        tracked: Tracked,
        seen: Sequence[Observation],
        colours: Tensor,
        threshold: float,
    ) -> tuple[Tracked, list[Observation]]:
        """Give pixels that two masks have in common to one of them, where the looks tell to which.

        Args:
            object_ids: N ids, ascending.
            tracked: the frame, as the network sees it.
            seen: N observations of it.
            colours: (P,) bins of the frame's colours, P pixels of `tracked.low_res`.
            threshold: a pixel belongs to an object where its logit is above this.

        Returns:
            What to show: where a pixel went to another object its logit is mirrored at the threshold. An object that
            is left with next to nothing has `yielded`, and its score is negative.
        """
        grid = tracked.low_res.shape[-2:]
        logits = tracked.low_res[:, 0].flatten(1)
        masks = logits > threshold
        common = (masks.float() @ masks.float().t()).tolist()  # on a GPU the step waits here once more
        rivals = [
            (a, b)
            for a, b in combinations(range(len(object_ids)), 2)
            if common[a][b] > _COMMON * min(common[a][a], common[b][b])
            and self._looks.keys() >= {object_ids[a], object_ids[b]}
        ]
        if not rivals:
            return tracked, list(seen)
        shown = logits.clone()
        for a, b in rivals:
            both = masks[a] & masks[b]
            ratio = (self._looks[object_ids[a]] - self._looks[object_ids[b]])[colours.long()].clamp(-_MOST, _MOST)
            evidence = _local_mean(ratio.unflatten(0, grid), both.unflatten(0, grid)).flatten()
            for lost, kept, clear in ((a, b, evidence < -_CLEARLY), (b, a, evidence > _CLEARLY)):
                mirrored = torch.minimum(shown[lost], 2 * threshold - logits[kept])
                shown[lost] = torch.where(both & clear, mirrored, shown[lost])
        left = (shown > threshold).sum(1).tolist()
        yielded = [after < _LEAST * before[k] for k, (before, after) in enumerate(zip(common, left, strict=True))]
        gone = torch.tensor(yielded, device=shown.device)[:, None]
        shown = torch.where(gone, torch.minimum(shown, 2 * threshold - shown), shown)
        return (
            replace(
                tracked,
                low_res=shown.unflatten(1, grid)[:, None],
                score=torch.where(gone, -tracked.score.abs(), tracked.score),
            ),
            [replace(o, yielded=has) for o, has in zip(seen, yielded, strict=True)],
        )


def _local_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return, at each place of a mask (h, w) bool, the mean of values (h, w) over the mask's places around it."""
    size = int(_REACH * mask.shape[0]) // 2 * 2 + 1
    sums = torch.stack([values * mask, mask.to(values.dtype)])[:, None]
    for kernel in ((size, 1), (1, size)):
        sums = F.avg_pool2d(sums, kernel, stride=1, padding=(kernel[0] // 2, kernel[1] // 2))
    return sums[0, 0] / sums[1, 0].clamp(min=1e-6)
