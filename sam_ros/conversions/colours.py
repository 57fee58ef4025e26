"""The colour of an object, the same in every display."""

from __future__ import annotations

import colorsys

__all__ = ["colour_of"]

GOLDEN_RATIO = 0.618033988749895


def colour_of(object_id: int) -> tuple[int, int, int]:
    """Return an object's colour (blue, green, red); hues of successive ids lie a golden section apart."""
    red, green, blue = colorsys.hsv_to_rgb((object_id * GOLDEN_RATIO) % 1.0, 0.85, 1.0)
    return round(blue * 255), round(green * 255), round(red * 255)
