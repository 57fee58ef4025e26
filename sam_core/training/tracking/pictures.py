"""A user's pictures: reading them, bringing them to the model's size, and numbering the objects of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from sam_core.sam2.pixels import resized
from sam_core.synthetic.sprites import Image
from sam_core.training.generator import Clip

__all__ = ["PictureShape", "compact", "read_image"]

_MEAN_COLOUR = (124, 116, 104)  # normalised, it is the zero that a model fills its input up with


@dataclass(frozen=True)
class PictureShape:
    """The square that a model takes.

    Attributes:
        side: px.
        keep_aspect: an image fills the square's longer side alone, and the rest is padding at the right or at the
            bottom, as for SAM 1; else it is stretched, as for SAM 2.
    """

    side: int
    keep_aspect: bool = False

    def fit(self, image: Image, labels: Image) -> tuple[Image, Image]:
        """Bring an image (H, W, 3) and its object numbers (H, W), both uint8, to the square; padding is background.

        The image is resized as the model resizes those that it is used on.
        """
        side, (height, width) = self.side, labels.shape
        if self.keep_aspect:
            scale = side / max(height, width)
            height, width = max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
        else:
            height, width = side, side
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        inner = resized(pixels, (height, width))[0].permute(1, 2, 0).numpy()
        numbers = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        rim = (0, side - height, 0, side - width, cv2.BORDER_CONSTANT)
        inner = cv2.copyMakeBorder(np.ascontiguousarray(inner), *rim, value=_MEAN_COLOUR)
        return np.asarray(inner, np.uint8), np.asarray(cv2.copyMakeBorder(numbers, *rim, value=0), np.uint8)


def read_image(path: Path) -> Image:
    """Read an image as uint8 RGB (H, W, 3).

    Raises:
        ValueError: it cannot be read.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} cannot be read as an image.")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def compact(images: Image, labels: Image) -> Clip:
    """Return a clip whose objects are numbered from 1 without gaps; arguments as the attributes of `Clip`."""
    present = [int(k) for k in np.unique(labels) if k]
    numbers = np.zeros(256, np.uint8)
    numbers[present] = np.arange(1, len(present) + 1)
    return Clip(images, numbers[labels], len(present))
