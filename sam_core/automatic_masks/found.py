"""A mask that was found."""

from __future__ import annotations

from dataclasses import dataclass

from sam_core.automatic_masks.rle import Rle


@dataclass(frozen=True, eq=False)
class FoundMask:
    """A mask that was found without a prompt, in px of the whole image.

    Attributes:
        rle: the mask.
        box: (x_min, y_min, x_max, y_max), maxima exclusive.
        predicted_iou: the decoder's estimate of its IoU.
        stability: IoU of the masks at a higher and at a lower threshold, 0 … 1.
        point: (x, y) of the grid's point that found it.
        crop: (x_min, y_min, x_max, y_max) of the part of the image that it was found in, maxima exclusive.
    """

    rle: Rle
    box: tuple[int, int, int, int]
    predicted_iou: float
    stability: float
    point: tuple[float, float]
    crop: tuple[int, int, int, int]

    @property
    def area(self) -> int:
        """Number of pixels on the mask."""
        return self.rle.area
