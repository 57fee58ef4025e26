"""Quaternions (x, y, z, w), as ROS orders them, and rotation matrices."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["matrix_of", "quaternion_of"]


def matrix_of(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation (3, 3) of a quaternion (4,) of any length but 0."""
    x, y, z, w = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_of(rotation: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Return the unit quaternion of a rotation (3, 3); w is not negative (Shepperd, 1978)."""
    trace = float(np.trace(rotation))
    largest = int(np.argmax([*np.diag(rotation), trace]))
    values = np.zeros(4)
    if largest == 3:
        values[3] = 1 + trace
        values[:3] = [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        values[i] = 1 - trace + 2 * rotation[i, i]
        values[j], values[k] = rotation[j, i] + rotation[i, j], rotation[k, i] + rotation[i, k]
        values[3] = rotation[k, j] - rotation[j, k]
    values *= math.copysign(1 / np.linalg.norm(values), values[3])
    x, y, z, w = values.tolist()
    return x, y, z, w
