"""Non-overlapping masks by the highest logit, as the official predictor's `non_overlap_masks`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sam_core.streaming.masks import logits_at
from sam_core.streaming.postprocessing.base import MaskPostprocessor, ObjectMasks

_BACKGROUND = -10.0  # upper bound of the logits of objects that do not get a pixel; its sigmoid is 4.5e-5


class HighestScoreOverlap(MaskPostprocessor):
    """Leave each pixel of the image to the object of the highest logit there.

    Source: SAM 2 (Ravi et al., 2024), released predictor, option `non_overlap_masks`.
    """

    def __call__(self, masks: ObjectMasks, image: Tensor | None, references: Sequence[Any]) -> ObjectMasks:
        """Return logits (N, H, W) at the image's size."""
        count = masks.logits.shape[0]
        if count < 2:
            return masks
        logits = logits_at(masks.logits, masks.size)
        owner = logits.argmax(0)
        keeps = owner == torch.arange(count, device=logits.device)[:, None, None]
        return replace(masks, logits=torch.where(keeps, logits, logits.clamp(max=_BACKGROUND)))
