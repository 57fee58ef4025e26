"""A mask without the empty space around it: little to keep, quick to compare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class CroppedMask:
    """A mask of an image, cropped to its bounding box.

    Attributes:
        image_size: (H, W) of the image in px.
        box: (x_min, y_min, x_max, y_max) in px, maxima exclusive; zeros for an empty mask.
        pixels: (y_max - y_min, x_max - x_min) bool.
    """

    image_size: tuple[int, int]
    box: tuple[int, int, int, int]
    pixels: NDArray[np.bool_]

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> CroppedMask:
        """Crop a mask (H, W) bool; the result shares no memory with it."""
        height, width = mask.shape
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows) == 0:
            return cls((height, width), (0, 0, 0, 0), np.zeros((0, 0), bool))
        y_min, y_max = int(rows[0]), int(rows[-1]) + 1
        x_min, x_max = int(columns[0]), int(columns[-1]) + 1
        return cls((height, width), (x_min, y_min, x_max, y_max), mask[y_min:y_max, x_min:x_max].copy())

    @property
    def area(self) -> int:
        """Number of pixels on the mask."""
        return int(np.count_nonzero(self.pixels))

    @property
    def centre(self) -> tuple[float, float]:
        """Centre (x, y) of the bounding box in px."""
        x_min, y_min, x_max, y_max = self.box
        return (x_min + x_max) / 2, (y_min + y_max) / 2

    def full(self) -> NDArray[np.bool_]:
        """Return the mask at the image's size, (H, W) bool."""
        mask = np.zeros(self.image_size, bool)
        x_min, y_min, x_max, y_max = self.box
        mask[y_min:y_max, x_min:x_max] = self.pixels
        return mask

    def overlap(self, other: CroppedMask) -> float:
        """Return the intersection over union with another mask, 0 … 1; 0 where their images differ in size."""
        if self.image_size != other.image_size:
            return 0.0
        x_min, y_min = max(self.box[0], other.box[0]), max(self.box[1], other.box[1])
        x_max, y_max = min(self.box[2], other.box[2]), min(self.box[3], other.box[3])
        if x_max <= x_min or y_max <= y_min:
            return 0.0
        both = int(np.count_nonzero(self._part(x_min, y_min, x_max, y_max) & other._part(x_min, y_min, x_max, y_max)))
        return both / (self.area + other.area - both)

    def _part(self, x_min: int, y_min: int, x_max: int, y_max: int) -> NDArray[np.bool_]:
        """View a rectangle of the image that lies inside the box."""
        left, top = self.box[:2]
        return self.pixels[y_min - top : y_max - top, x_min - left : x_max - left]
