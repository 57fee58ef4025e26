"""Clip points and boxes that leave their image by a little.

Detectors regress boxes and viewers round clicks, so both can end a little outside the image, or at x = width. They are
clipped to it. What lies farther outside was meant for another image or another scale, and callers refuse it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["clip_boxes", "clip_points", "is_far"]

MARGIN = 0.02  # of the image's side
LEAST_MARGIN = 4.0  # px, for small images

Numbers = NDArray[np.floating[Any]]


def clip_points(points: Numbers, height: int, width: int) -> Numbers:
    """Move points (K, 2) xy in px that lie outside the image into the nearest pixel."""
    size = np.array([width, height], np.float32)
    outside = (points < 0) | (points >= size)
    return np.where(outside, points.clip(0, size - 1), points)


def clip_boxes(boxes: Numbers, height: int, width: int) -> Numbers:
    """Cut boxes (K, 4) x_min, y_min, x_max, y_max in px to the image; those outside become empty."""
    return boxes.clip(0, np.array([width, height, width, height], np.float32))


def is_far(given: Numbers, clipped: Numbers, height: int, width: int) -> NDArray[np.bool_]:
    """Return for each row (K, 2) or (K, 4) whether clipping moved it by more than 2 % of the side and 4 px."""
    margin = np.maximum(LEAST_MARGIN, MARGIN * np.resize([width, height], given.shape[1]))
    far: NDArray[np.bool_] = np.any(np.abs(given - clipped) > margin, axis=1)
    return far
