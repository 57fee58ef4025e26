"""The detections of one concept on one frame, as the rules take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam_core.association.rules import ConceptRules
from sam_core.sam3.detections import suppress_same_masks
from sam_core.streaming import CroppedMask
from sam_core.streaming.masks import logits_at

Point = tuple[float, float]  # in image widths and heights


@dataclass(frozen=True, eq=False)
class Instance:
    """What a detector found.

    Attributes:
        phrase: what it was found by.
        score: 0 … 1.
        mask: on the image that was searched.
    """

    phrase: str
    score: float
    mask: CroppedMask


@dataclass(frozen=True, eq=False)
class ConceptDetections:
    """N detections of a phrase.

    Attributes:
        phrase: what was searched for.
        scores: (N,) float32, 0 … 1.
        logits: (N, h, w) float32 mask logits over the whole image.
        masks: the masks at the image's size where they are known better than by the logits.
    """

    phrase: str
    scores: Tensor
    logits: Tensor
    masks: tuple[CroppedMask, ...] | None = None

    def __len__(self) -> int:
        """Return the number of detections."""
        return len(self.scores)

    @classmethod
    def of_instances(
        cls, phrase: str, instances: Sequence[Instance], grid: int, device: torch.device
    ) -> ConceptDetections:
        """Bring instances to a square grid; their masks stay as they are.

        Args:
            phrase: what was searched for.
            instances: what was found.
            grid: side of the grid, in places.
            device: where the tensors go.
        """
        scores = torch.tensor([one.score for one in instances], dtype=torch.float32, device=device)
        logits = torch.full((len(instances), grid, grid), -1.0, dtype=torch.float32, device=device)
        for row, one in zip(logits, instances, strict=True):
            pixels = torch.from_numpy(one.mask.full()).to(device).float()[None, None]
            row.copy_(F.interpolate(pixels, (grid, grid), mode="bilinear", antialias=True)[0, 0] - 0.5)
        return cls(phrase, scores, logits, tuple(one.mask for one in instances))

    def on_grid(self, grid: int, device: torch.device) -> ConceptDetections:
        """Return the detections with logits on a square grid of a tracker, on its device."""
        logits = self.logits.to(device).float()
        if logits.shape[-2:] != (grid, grid):
            logits = logits_at(logits, (grid, grid)) if len(logits) else logits.new_zeros(0, grid, grid)
        return replace(self, scores=self.scores.to(device).float(), logits=logits)

    def taken(self, positions: Sequence[int]) -> ConceptDetections:
        """Return some of the detections."""
        index = torch.tensor(positions, dtype=torch.long, device=self.scores.device)
        masks = None if self.masks is None else tuple(self.masks[i] for i in positions)
        return ConceptDetections(self.phrase, self.scores[index], self.logits[index], masks)

    def centre(self, position: int) -> Point:
        """Return the centre of the box around a detection's mask, which is not empty."""
        if self.masks is not None:
            (x, y), (height, width) = self.masks[position].centre, self.masks[position].image_size
            return x / width, y / height
        mask = self.logits[position] > 0
        rows, columns = torch.nonzero(mask.any(dim=1))[:, 0], torch.nonzero(mask.any(dim=0))[:, 0]
        y_min, y_max, x_min, x_max = torch.stack((rows[0], rows[-1], columns[0], columns[-1])).tolist()
        return (x_min + x_max + 1) / 2 / mask.shape[1], (y_min + y_max + 1) / 2 / mask.shape[0]

    def mask(self, position: int, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Return a detection's mask at an image's size (H, W) in px."""
        if self.masks is not None:
            return self.masks[position].full()
        mask: NDArray[np.bool_] = (logits_at(self.logits[position : position + 1], size)[0] > 0).cpu().numpy()
        return mask


@dataclass(frozen=True)
class Selection:
    """Which detections the rules look at.

    Attributes:
        kept: their positions, ascending.
        twins: from a detection to the better one that it is suppressed by.
    """

    kept: tuple[int, ...]
    twins: dict[int, int]


def select(found: ConceptDetections, rules: ConceptRules) -> Selection:
    """Apply the score threshold, the bound on their number, and non-maximum suppression.

    Args:
        found: detections in any order.
        rules: settings.
    """
    scores = found.scores
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] > rules.score_threshold][: rules.max_detections]
    best_first = order.tolist()
    masks = found.logits[order] > 0
    positions = suppress_same_masks(masks, rules.nms_iou) if rules.nms_iou and best_first else range(len(best_first))
    kept = [best_first[i] for i in positions]
    return Selection(tuple(sorted(kept)), _twins(masks, best_first, set(positions), rules.nms_iou))


def _twins(masks: Tensor, best_first: list[int], kept: set[int], iou: float) -> dict[int, int]:
    if len(kept) == len(best_first):
        return {}
    flat = masks.flatten(1).float()
    both = flat @ flat.t()
    areas = flat.sum(dim=1)
    close = (both > iou * (areas[:, None] + areas[None] - both).clamp(min=1)).tolist()
    return {
        best_first[i]: best_first[next(j for j in sorted(kept) if close[i][j])]
        for i in range(len(best_first))
        if i not in kept
    }
