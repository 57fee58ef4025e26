"""The masks of prompts on one image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageMasks:
    """Masks of N prompts, in their order, M candidates each.

    Attributes:
        masks: (N, M, H, W) bool at the image's size.
        predicted_iou: (N, M) float32, the decoder's estimate of each mask's IoU.
        stability: (N, M) float32, IoU of the masks at a higher and at a lower threshold, 0 … 1.
        low_res: (N, M, m, m) float32 logits, but for SAM 1 at most 32 in magnitude: a later prediction can refine them.
        remarks: what was changed to make the prompts fit the image, in full sentences.
    """

    masks: Tensor
    predicted_iou: Tensor
    stability: Tensor
    low_res: Tensor
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of prompts."""
        return self.masks.shape[0]

    @property
    def best(self) -> Tensor:
        """(N,) index of the candidate with the highest predicted IoU of each prompt."""
        return self.predicted_iou.argmax(dim=1)
