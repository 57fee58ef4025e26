"""Fill small holes of masks and remove small specks.

Source: SAM 3's released code (`fill_hole_area`), which labels regions on the GPU; this one does on the host.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_FILLED, _REMOVED = 0.1, -0.1  # logits of places that are changed


def clean(logits: Tensor, max_area: int) -> Tensor:
    """Fill holes, then remove specks, of up to so many places; a speck is at most half of its mask.

    Args:
        logits: (M, h, w) float32 mask logits.
        max_area: in places of the grid; 0 changes nothing.
    """
    if max_area <= 0 or not len(logits):
        return logits
    seen = (logits > 0).cpu().numpy()
    holes, specks = np.zeros_like(seen), np.zeros_like(seen)
    for mask, hole, speck in zip(seen, holes, specks, strict=True):
        hole[:] = _small_regions(~mask, max_area)
        filled = mask | hole
        speck[:] = _small_regions(filled, min(max_area, int(np.count_nonzero(filled)) // 2))
    logits = torch.where(torch.from_numpy(holes).to(logits.device), _FILLED, logits)
    return torch.where(torch.from_numpy(specks).to(logits.device), _REMOVED, logits)


def _small_regions(mask: NDArray[np.bool_], max_area: int) -> NDArray[np.bool_]:
    """Return the places (h, w) of a mask's connected regions, eight neighbours a place, up to an area."""
    _, labels, regions, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    small = regions[:, cv2.CC_STAT_AREA] <= max_area
    small[0] = False  # the label of what is not in the mask
    result: NDArray[np.bool_] = small[labels]
    return result
