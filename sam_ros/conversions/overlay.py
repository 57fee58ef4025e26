"""Draw results over an image: tracked objects in the colours of their ids, and detected instances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_ros.conversions.captions import draw_caption
from sam_ros.conversions.colours import colour_of
from sam_ros.conversions.masks import UNLABELLED, Masks

if TYPE_CHECKING:
    from sam_msgs.msg import ConceptInstance

__all__ = ["draw_instances", "draw_overlay"]

OPACITY = 0.45  # of the mask's colour
DETECTION_COLOUR = (0, 200, 255)  # BGR


def draw_overlay(image: NDArray[np.uint8], masks: Masks) -> NDArray[np.uint8]:
    """Return a copy of the image with all objects drawn over it.

    Args:
        image: uint8 RGB (H, W, 3); it is left as it is.
        masks: The frame's result.

    Returns:
        uint8 BGR (H, W, 3).
    """
    canvas: NDArray[Any] = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    for i, object_id in enumerate(masks.result.object_ids):
        x1, y1, x2, y2 = masks.boxes[i]
        if x2 <= x1:
            continue
        colour = colour_of(object_id)
        region = canvas[y1:y2, x1:x2]
        crop = masks.crops[i].view(np.uint8)
        tint = (*(OPACITY * part for part in colour), 0.0)
        tinted = cv2.add(cv2.convertScaleAbs(region, alpha=1.0 - OPACITY), tint)  # type: ignore[call-overload]
        cv2.copyTo(tinted, crop, region)
        outlines, _ = cv2.findContours(crop, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x1, y1))
        cv2.drawContours(canvas, outlines, -1, colour, 2)
        name = masks.result.labels[i] or UNLABELLED
        draw_caption(canvas, f"{object_id} {name} {masks.scores[i]:.2f}", x1, y1, colour)
    return canvas


def draw_instances(
    image: NDArray[np.uint8], instances: Sequence[ConceptInstance], captions: Sequence[str]
) -> NDArray[np.uint8]:
    """Return a copy of the image with detected instances outlined, each with its score.

    Args:
        image: uint8 BGR (H, W, 3).
        instances: Detected in the image.
        captions: Lines of text for the lower left corner.

    Returns:
        uint8 BGR (H, W, 3).
    """
    canvas = image.copy()
    for instance in instances:
        mask = np.frombuffer(instance.mask.data, np.uint8).reshape(instance.mask.height, instance.mask.width)
        if mask.size == 0:
            continue
        x, y = int(instance.box.x_offset), int(instance.box.y_offset)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
        cv2.drawContours(canvas, outlines, -1, DETECTION_COLOUR, 2)
        draw_caption(canvas, f"{instance.score:.2f}", x, y, DETECTION_COLOUR)
    bottom = canvas.shape[0] - 1
    for text in reversed(captions):
        bottom = draw_caption(canvas, text, 0, bottom, DETECTION_COLOUR) - 1
    return canvas
