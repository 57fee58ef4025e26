"""Remove small holes and islands of masks.

Source: "Segment Anything" (Kirillov et al., 2023), appendix B, "Postprocessing".
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.automatic_masks.found import FoundMask
from sam_core.automatic_masks.nms import suppress
from sam_core.automatic_masks.rle import Rle
from sam_core.streaming.cropped_mask import CroppedMask

Mask = NDArray[np.bool_]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A mask without small regions, and whether it had any."""

    item: FoundMask
    changed: bool


def without_small_regions(item: FoundMask, min_area: int) -> Cleaned:
    """Fill holes and remove islands that are smaller than `min_area` px."""
    before = item.rle.decode()
    mask = without_islands(without_holes(before, min_area), min_area)
    if (mask == before).all():
        return Cleaned(item, changed=False)
    return Cleaned(replace(item, rle=Rle.of(mask), box=CroppedMask.of(mask).box), changed=True)


def without_doubles(cleaned: Sequence[Cleaned], iou_threshold: float, pause: T) -> Generator[T, None, list[FoundMask]]:
    """Remove masks that became doubles of others, with pauses as in `suppress`; one that did not change stays."""
    scores = [float(not one.changed) for one in cleaned]
    stay = yield from suppress([one.item.box for one in cleaned], scores, iou_threshold, pause)
    return [cleaned[i].item for i in stay]


def without_holes(mask: Mask, min_area: int) -> Mask:
    """Fill regions of background that are smaller than an area in px; eight neighbours a pixel."""
    labels, small, _ = _regions(~mask, min_area)
    return mask | small[labels]


def without_islands(mask: Mask, min_area: int) -> Mask:
    """Remove regions of a mask (H, W) that are smaller than an area in px; where all are, the largest stays."""
    labels, small, largest = _regions(mask, min_area)
    if small[1:].all() and len(small) > 1:
        small[largest] = False
    return mask & ~small[labels]


def _regions(pixels: Mask, min_area: int) -> tuple[NDArray[np.int32], Mask, int]:
    """Label connected regions; return the labels (H, W), which are small (label 0 never), and the largest one."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(pixels.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    small = areas < min_area
    small[0] = False
    largest = int(areas[1:].argmax()) + 1 if len(areas) > 1 else 0
    return np.asarray(labels, np.int32), small, largest
