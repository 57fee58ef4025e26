"""Fill small holes of masks, as the official predictor's `fill_hole_area`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from sam_core.streaming.postprocessing.base import MaskPostprocessor, ObjectMasks

_FILLED = 0.1  # logit of a filled place


def fill_holes(logits: Tensor, max_area: int) -> Tensor:
    """Fill the connected regions of background that are not larger than an area.

    Source: SAM 2's released predictor, which does so on a GPU with eight neighbours a place; this one labels the
    regions on the host.

    Args:
        logits: (..., h, w) float32 mask logits.
        max_area: largest hole in places of the logits' grid; 0 fills nothing.

    Returns:
        Logits of the same shape, slightly above 0 where a hole was.
    """
    if max_area <= 0:
        return logits
    background = (logits <= 0).flatten(0, -3).cpu().numpy().astype(np.uint8)
    holes = np.zeros(background.shape, bool)
    for mask, hole in zip(background, holes, strict=True):
        _, labels, regions, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        small = regions[:, cv2.CC_STAT_AREA] <= max_area
        small[0] = False  # the label of what is not background
        hole[:] = small[labels]
    return torch.where(torch.from_numpy(holes).to(logits.device).view_as(logits), _FILLED, logits)


class FillHoles(MaskPostprocessor):
    """Fill small holes of the masks that are shown.

    Args:
        max_area: largest hole in places of the network's mask.
    """

    def __init__(self, max_area: int) -> None:
        self.max_area = max_area

    def __call__(self, masks: ObjectMasks, image: Tensor | None, references: Sequence[Any]) -> ObjectMasks:
        """Return masks without small holes."""
        return replace(masks, logits=fill_holes(masks.logits, self.max_area))
