"""Where to ask: crops of an image, and a grid of points in each.

Source: "Segment Anything" (Kirillov et al., 2023), appendix B, "Cropping"; the sizes are those of the
released generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sam_core.automatic_masks.settings import AutomaticMaskSettings

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Crop:
    """A part of an image, and the points to ask for in it.

    Attributes:
        box: (x_min, y_min, x_max, y_max) in px of the image, maxima exclusive.
        points: (N, 2) float32 xy in px of the crop.
    """

    box: Box
    points: NDArray[np.float32]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in px."""
        return self.box[3] - self.box[1], self.box[2] - self.box[0]


def crops_of(size: tuple[int, int], settings: AutomaticMaskSettings) -> list[Crop]:
    """Return the whole image of `size` (H, W) and the crops of every layer."""
    crops = []
    for layer in range(settings.crop_layers + 1):
        points = _grid(max(1, settings.points_per_side // settings.crop_points_downscale**layer))
        for box in _boxes(size, 2**layer, settings.crop_overlap):
            extent = np.array([box[2] - box[0], box[3] - box[1]])
            crops.append(Crop(box, (points * extent).astype(np.float32)))
    return crops


def _grid(side: int) -> NDArray[np.float64]:
    """Return side × side points in the middle of equal cells of the unit square, row by row."""
    places = (np.arange(side) + 0.5) / side
    return np.stack((np.tile(places, side), np.repeat(places, side)), axis=-1)


def _boxes(size: tuple[int, int], per_side: int, overlap_share: float) -> list[Box]:
    """Return per_side × per_side equal boxes that overlap, column by column; those at the end are cut off.

    Boxes of an image that is too small for so many are left out where nothing of it remains.
    """
    height, width = size
    if per_side == 1:
        return [(0, 0, width, height)]
    overlap = int(overlap_share * min(size) * (2 / per_side))
    wide, high = (math.ceil((overlap * (per_side - 1) + side) / per_side) for side in (width, height))
    lefts, tops = ([(side - overlap) * place for place in range(per_side)] for side in (wide, high))
    boxes = [(x, y, min(x + wide, width), min(y + high, height)) for x, y in product(lefts, tops)]
    return [box for box in boxes if box[2] > box[0] and box[3] > box[1]]
