"""Draw results over the image: a colour that stays with the object's id, its outline, label and score."""

from __future__ import annotations

import colorsys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_ros.messages import Masks

__all__ = ["colour_of", "draw_overlay"]

GOLDEN_RATIO = 0.618033988749895
OPACITY = 0.45  # of the mask's colour
FONT = cv2.FONT_HERSHEY_SIMPLEX


def colour_of(object_id: int) -> tuple[int, int, int]:
    """Return the colour (blue, green, red) of an object: hues a golden section apart, so neighbours differ well."""
    red, green, blue = colorsys.hsv_to_rgb((object_id * GOLDEN_RATIO) % 1.0, 0.85, 1.0)
    return round(blue * 255), round(green * 255), round(red * 255)


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
        name = masks.result.labels[i] or "object"
        _draw_caption(canvas, f"{object_id} {name} {masks.scores[i]:.2f}", x1, y1, colour)
    return canvas


def _draw_caption(canvas: NDArray[Any], text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    """Write a caption above (x, y), or inside the image where there is no room above."""
    scale = max(0.4, canvas.shape[0] / 1000)
    (width, height), base = cv2.getTextSize(text, FONT, scale, 1)
    left = max(0, min(x, canvas.shape[1] - width))
    bottom = max(y - base, height + base)
    cv2.rectangle(canvas, (left, bottom - height - base), (left + width, bottom + base), colour, cv2.FILLED)
    cv2.putText(canvas, text, (left, bottom), FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
