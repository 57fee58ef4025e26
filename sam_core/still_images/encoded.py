"""An encoded image: what every prompt on it needs."""

from __future__ import annotations

from dataclasses import dataclass

from sam_core.sam2 import ImageFeatures


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """The features of one image. Any number of predictions may use them.

    Attributes:
        features: of the image, a batch of one.
        size: (H, W) of the image in px.
    """

    features: ImageFeatures
    size: tuple[int, int]
