"""Write a line of text over an image, on a background of its own."""

from __future__ import annotations

from typing import Any

import cv2
from numpy.typing import NDArray

__all__ = ["draw_caption"]

FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_caption(canvas: NDArray[Any], text: str, x: int, y: int, colour: tuple[int, int, int]) -> int:
    """Write black text on a coloured rectangle above (x, y), or at the top edge where there is no room above.

    Args:
        canvas: uint8 BGR (H, W, 3), drawn on in place.
        text: One line.
        x: Left edge in px; moved to the left where the text would leave the image.
        y: Lower edge in px.
        colour: Of the rectangle, (blue, green, red).

    Returns:
        The y of the rectangle's upper edge in px.
    """
    scale = max(0.4, canvas.shape[0] / 1000)
    (width, height), base = cv2.getTextSize(text, FONT, scale, 1)
    left = max(0, min(x, canvas.shape[1] - width))
    bottom = max(y - base, height + base)
    top = bottom - height - base
    cv2.rectangle(canvas, (left, top), (left + width, bottom + base), colour, cv2.FILLED)
    cv2.putText(canvas, text, (left, bottom), FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return top
