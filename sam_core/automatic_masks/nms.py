"""Non-maximum suppression: of masks whose boxes nearly coincide, one stays."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sam_core.automatic_masks.grid import Box

T = TypeVar("T")

_PAIRS_AT_ONCE = 2**19  # compared between two pauses: some 30 ms
_OVERHEAD = 1024  # pairs that could be compared in the time that one round takes by itself


def between_pixels(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Return boxes (N, 4) from the centre of the first pixel to that of the last, as the released generator does."""
    return np.asarray(boxes, np.float64).reshape(-1, 4) - (0, 0, 1, 1)


def suppress(
    boxes: Sequence[Box], scores: Sequence[float], iou_threshold: float, pause: T
) -> Generator[T, None, list[int]]:
    """Keep boxes greedily, the best first, unless one that is kept overlaps them by more than an IoU.

    The time grows with the square of what is kept, so there are pauses in which the caller can do something else.

    Args:
        boxes: (x_min, y_min, x_max, y_max), maxima exclusive.
        scores: of each box; among equal ones the first goes before.
        iou_threshold: the IoU.
        pause: what is yielded at each pause.

    Returns:
        Indices of those that stay, best first.
    """
    corners = between_pixels(boxes)
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    left = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    kept: list[int] = []
    work = 0
    while left.size:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        low = np.maximum(corners[best, :2], corners[left, :2])
        high = np.minimum(corners[best, 2:], corners[left, 2:])
        both = (high - low).clip(0).prod(axis=1)
        either = areas[best] + areas[left] - both
        left = left[both <= iou_threshold * either]
        work += left.size + _OVERHEAD
        if work > _PAIRS_AT_ONCE:
            work = 0
            yield pause
    return kept
