"""A camera of its own for tests of the stream: a pattern that moves."""

from __future__ import annotations

import numpy as np

HEIGHT, WIDTH = 90, 120


def frame(index: int) -> np.ndarray:
    """A moving pattern, (HEIGHT, WIDTH, 3) uint8."""
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    waves = [np.sin((xs + 3 * index) / (4 + c)) + np.cos((ys - 2 * index) / (5 + c)) for c in range(3)]
    return np.stack([(w * 60 + 128).astype(np.uint8) for w in waves], axis=-1)
