"""Reading a user's pictures, and numbering the objects of a clip."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from sam_core.synthetic.sprites import Image
from sam_core.training.generator import Clip

__all__ = ["compact", "read_image"]


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
