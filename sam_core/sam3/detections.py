"""What the detector returns, and the suppression of instances that are the same twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

_MASKS_AT_ONCE = 16  # resized to the image's size together; bounds the memory


@dataclass(frozen=True, eq=False)
class Detections:
    """The N instances of one phrase in one image, best first; tensors on the detector's device.

    Attributes:
        phrase: the phrase as the caller gave it; `visual` for exemplars without words.
        image_size: (height, width) in pixels of the image.
        scores: (N,) float32, class probability times presence.
        boxes: (N, 4) float32 x1, y1, x2, y2 in pixels, as regressed: may overhang the image's edge by a little.
        mask_logits: (N, h, w) float32 at the network's mask resolution, over the whole image.
        presence: probability that the concept is in the image at all.
        cut: the end of the phrase that did not fit the text encoder's context; empty where all of it did.
    """

    phrase: str
    image_size: tuple[int, int]
    scores: Tensor
    boxes: Tensor
    mask_logits: Tensor
    presence: float
    cut: str = ""

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def masks(self) -> Tensor:
        """(N, H, W) bool at the image's size; made when asked for, and kept: many of them are large."""
        return torch.cat(list(self.masks_in_parts()))

    def masks_in_parts(self) -> Iterator[Tensor]:
        """Yield the masks (n, H, W) bool at the image's size, in order, a few at a time: for those who keep none."""
        for start in range(0, max(1, len(self)), _MASKS_AT_ONCE):
            logits = self.mask_logits[start : start + _MASKS_AT_ONCE, None]
            if len(logits) == 0:
                yield torch.zeros((0, *self.image_size), dtype=torch.bool, device=logits.device)
            else:
                yield F.interpolate(logits, self.image_size, mode="bilinear", align_corners=False)[:, 0] > 0


def suppress_same_masks(masks: Tensor, max_iou: float) -> list[int]:
    """Drop each mask that overlaps a better one too much (greedy non-maximum suppression).

    Args:
        masks: (N, h, w) bool, best first.
        max_iou: largest intersection over union with a kept mask that is tolerated.

    Returns:
        Indices of the masks to keep, in order.
    """
    flat = masks.flatten(1).float()
    inter = flat @ flat.t()
    areas = flat.sum(dim=1)
    union = areas[:, None] + areas[None] - inter
    too_close = (inter > max_iou * union.clamp(min=1)).tolist()
    kept: list[int] = []
    for index in range(len(masks)):
        if not any(too_close[index][better] for better in kept):
            kept.append(index)
    return kept
