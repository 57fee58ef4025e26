"""Detections made from a scene's truth, with the faults of a detector, the same for every library that tracks them.

Its numbers were fixed before anything was measured: what is meant is missed now and then, found twice, or as one with
its neighbour; what is not meant is found now and then; scores and outlines are noisy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Found", "NoisyDetector"]

LEAST_AREA = 30  # px that must be visible of a thing


@dataclass(frozen=True)
class Found:
    """A detection: its score, 0 … 1, and its mask (H, W)."""

    score: float
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class NoisyDetector:
    """Turn truth into detections.

    Attributes:
        meant: numbers of what is searched for.
        clutter: numbers of other things.
        seed: of the noise.
        missed: share of searches in which a meant thing is not found.
        doubled: share in which it is found a second time, by its upper or left half, with a lower score.
        united: share in which two meant things whose masks touch are found as one.
        false_alarms: share in which a thing that is not meant is found.
        score: mean of a right detection's score; of all others it is `wrong_score`.
        wrong_score: see `score`.
        spread: standard deviation of scores.
    """

    meant: tuple[int, ...]
    clutter: tuple[int, ...]
    seed: int = 0
    missed: float = 0.15
    doubled: float = 0.15
    united: float = 0.3
    false_alarms: float = 0.15
    score: float = 0.82
    wrong_score: float = 0.65
    spread: float = 0.1

    def detect(self, labels: NDArray[np.uint8], number: int, least: float) -> list[Found]:
        """Return the detections on a frame that score above `least`, the best first.

        Args:
            labels: (H, W), the truth.
            number: of the frame; the same number has the same noise.
            least: score.
        """
        rng = np.random.default_rng((self.seed, number))
        found: list[Found] = []
        masks = {i: labels == i for i in (*self.meant, *self.clutter)}
        seen = {i: mask for i, mask in masks.items() if np.count_nonzero(mask) >= LEAST_AREA}
        for i in self.meant:  # every draw is made whether it is needed or not, so that frames are alike
            draws, score = rng.random(2), self._score(rng, self.score)
            double = self._score(rng, self.wrong_score)
            if i not in seen:
                continue
            if draws[0] >= self.missed:
                found.append(Found(score, self._noisy(seen[i], rng)))
            if draws[1] < self.doubled:
                found.append(Found(double, _half(seen[i], bool(draws[1] < self.doubled / 2))))
        for i in self.meant:
            for j in self.meant:
                if i < j and i in seen and j in seen and _touch(seen[i], seen[j]) and rng.random() < self.united:
                    found.append(Found(self._score(rng, self.wrong_score), seen[i] | seen[j]))
        for i in self.clutter:
            draw, score = rng.random(), self._score(rng, self.wrong_score)
            if i in seen and draw < self.false_alarms:
                found.append(Found(score, self._noisy(seen[i], rng)))
        return sorted((one for one in found if one.score > least and one.mask.any()), key=lambda one: -one.score)

    def _score(self, rng: np.random.Generator, mean: float) -> float:
        return float(np.clip(rng.normal(mean, self.spread), 0.0, 1.0))

    def _noisy(self, mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
        """Return a mask that is moved, and wider or narrower, by a pixel or two."""
        kernel = np.ones((3, 3), np.uint8)
        change = int(rng.integers(-1, 2))
        pixels: NDArray[Any] = mask.astype(np.uint8)
        if change:
            pixels = cv2.dilate(pixels, kernel) if change > 0 else cv2.erode(pixels, kernel)
        x, y = (float(v) for v in rng.integers(-2, 3, 2))
        moved = cv2.warpAffine(pixels, np.array([[1.0, 0.0, x], [0.0, 1.0, y]]), pixels.shape[::-1])
        noisy: NDArray[np.bool_] = moved > 0
        return noisy


def _half(mask: NDArray[np.bool_], upper: bool) -> NDArray[np.bool_]:
    rows, columns = np.nonzero(mask)
    half = mask.copy()
    if upper:
        half[int(rows.mean()) :] = False
    else:
        half[:, int(columns.mean()) :] = False
    return half


def _touch(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    grown = cv2.dilate(one.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return bool((grown & other).any())
