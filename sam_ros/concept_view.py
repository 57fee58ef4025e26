"""A picture of a detection by word: every instance outlined, with its score."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from sam_msgs.msg import ConceptInstance

__all__ = ["draw_instances", "mask_of"]

INK, SHADE = (0, 200, 255), (0, 0, 0)  # BGR


def mask_of(instance: ConceptInstance, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Put an instance's cropped mask back into its image of `size` (H, W); bool."""
    full = np.zeros(size, bool)
    box, crop = instance.box, instance.mask
    rows, columns = slice(box.y_offset, box.y_offset + box.height), slice(box.x_offset, box.x_offset + box.width)
    full[rows, columns] = np.frombuffer(crop.data, np.uint8).reshape(crop.height, crop.width) > 0
    return full


def draw_instances(
    image: NDArray[np.uint8], instances: Sequence[ConceptInstance], captions: Sequence[str]
) -> NDArray[np.uint8]:
    """Draw instances over an image.

    Args:
        image: uint8 BGR (H, W, 3); it is left as it is.
        instances: What was found in it.
        captions: Lines of text for the lower left corner.

    Returns:
        The picture, uint8 BGR (H, W, 3).
    """
    picture = image.copy()
    for instance in instances:
        x, y = int(instance.box.x_offset), int(instance.box.y_offset)
        mask = np.frombuffer(instance.mask.data, np.uint8).reshape(instance.mask.height, instance.mask.width)
        if mask.size == 0:
            continue
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(x, y))
        cv2.drawContours(picture, outlines, -1, INK, 2)
        _write(picture, f"{instance.score:.2f}", (x + 4, max(y + 18, 18)))
    for line, text in enumerate(reversed(captions)):
        _write(picture, text, (10, picture.shape[0] - 14 - 26 * line))
    return picture


def _write(picture: NDArray[np.uint8], text: str, place: tuple[int, int]) -> None:
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
    x, y = place
    cv2.rectangle(picture, (x - 3, y - height - 4), (x + width + 3, y + below), SHADE, cv2.FILLED)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, INK, 1, cv2.LINE_AA)
