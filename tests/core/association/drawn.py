"""Masks drawn by hand, and what a detector would say of them."""

from __future__ import annotations

import numpy as np

from sam_core.association import (
    Instance,
)
from sam_core.streaming import (
    CroppedMask,
)

H, W = 40, 60


def box(x_min: int, y_min: int, x_max: int, y_max: int, size: tuple[int, int] = (H, W)) -> CroppedMask:
    mask = np.zeros(size, bool)
    mask[y_min:y_max, x_min:x_max] = True
    return CroppedMask.of(mask)


def cup(mask: CroppedMask, score: float = 0.9, phrase: str = "cup") -> Instance:
    return Instance(phrase, score, mask)
