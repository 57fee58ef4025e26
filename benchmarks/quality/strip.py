"""Picture strips: frames of a clip with coloured masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.synthetic.sprites import Image

__all__ = ["overlay", "save_png", "strip"]

_COLOURS = np.array(
    [[0, 0, 0], [255, 64, 64], [64, 220, 64], [80, 120, 255], [255, 210, 40], [230, 80, 230], [60, 220, 220]], np.uint8
)


def overlay(image: Image, labels: NDArray[np.uint8]) -> Image:
    """Return an image uint8 (H, W, 3) tinted and outlined where ``labels`` (H, W) is not 0."""
    index = labels.astype(int)
    index = np.where(index > 0, (index - 1) % (len(_COLOURS) - 1) + 1, 0)
    tint = _COLOURS[index]
    result = np.where(labels[..., None] > 0, image // 2 + tint // 2, image)
    for k in np.unique(labels):
        if k:
            contours, _ = cv2.findContours((labels == k).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            cv2.drawContours(result, contours, -1, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(result, np.uint8)


def strip(images: Image, labels: NDArray[np.uint8], count: int = 6, height: int = 160) -> Image:
    """Return ``count`` frames of a clip side by side with their masks.

    Args:
        images: uint8 (T, H, W, 3).
        labels: uint8 (T, H, W).
        count: number of frames.
        height: of the strip, px.
    """
    chosen = np.linspace(0, len(images) - 1, count).round().astype(int)
    width = round(height * images.shape[2] / images.shape[1])
    parts = [cv2.resize(overlay(images[t], labels[t]), (width, height), interpolation=cv2.INTER_AREA) for t in chosen]
    return np.asarray(np.hstack(parts), np.uint8)


def save_png(path: Path, picture: Image) -> None:
    """Write an RGB picture.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise OSError(f"cannot write {path}")
