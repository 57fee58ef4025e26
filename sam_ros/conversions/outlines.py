"""Outlines of masks as polygons, for displays that draw them at their own resolution."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Outline", "outline_of"]

Outline: TypeAlias = "tuple[tuple[float, ...], ...]"  # polygons, each x, y, x, y, ... in px; holes by the even-odd rule

MOST_CONTOURS = 100  # of one mask: a noisy one has thousands
MOST_VERTICES = 4000  # of one outline
SIMPLIFIED = 0.7  # px that a simplified outline may leave the mask's; more where it has too many vertices


def outline_of(crop: NDArray[np.uint8], x: int, y: int) -> Outline:
    """Return the outline of a mask in px of its image, the centre of the top-left pixel at (0.5, 0.5).

    Args:
        crop: Not 0 on the object, (H, W).
        x: Left edge of the crop in px.
        y: Top edge of the crop in px.

    Returns:
        At most 100 polygons, the longest, with 4,000 vertices in all.
    """
    if crop.size == 0:
        return ()
    contours, _ = cv2.findContours(crop, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x, y))
    largest = sorted(contours, key=len, reverse=True)[:MOST_CONTOURS]
    tolerance = SIMPLIFIED
    simple = [cv2.approxPolyDP(contour, tolerance, True) for contour in largest]
    while sum(map(len, simple)) > MOST_VERTICES:
        tolerance *= 2
        simple = [cv2.approxPolyDP(contour, tolerance, True) for contour in largest]
    return tuple(tuple((points.reshape(-1) + 0.5).tolist()) for points in simple)
