"""Outlines as polygons: arrays float32 (K, 2) xy, centred on the origin, within the unit circle."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["blob", "disc", "fill", "polygon", "rounded_box", "star"]

Outline = NDArray[np.float32]


def _polar(radius: NDArray[np.floating], angle: NDArray[np.floating]) -> Outline:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32)


def disc(points: int = 64) -> Outline:
    """Return the unit circle."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return _polar(np.ones(points), angle)


def polygon(corners: int) -> Outline:
    """Return a regular polygon."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False) - np.pi / 2
    return _polar(np.ones(corners), angle)


def star(tips: int = 5, inner: float = 0.5) -> Outline:
    """Return a star; ``inner`` is the radius of its notches."""
    angle = np.linspace(0, 2 * np.pi, 2 * tips, endpoint=False) - np.pi / 2
    return _polar(np.where(np.arange(2 * tips) % 2 == 0, 1.0, inner), angle)


def rounded_box(aspect: float = 1.0, power: float = 6.0, points: int = 96) -> Outline:
    """Return a super-ellipse (Lame curve) that looks like a box with round corners; ``aspect`` = height / width."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    x = np.sign(c) * np.abs(c) ** (2 / power)
    y = np.sign(s) * np.abs(s) ** (2 / power) * aspect
    return (np.stack([x, y], 1) / np.hypot(1, aspect)).astype(np.float32)


def blob(rng: np.random.Generator, roughness: float = 0.35, points: int = 72) -> Outline:
    """Return a smooth random outline: a circle whose radius varies by a few random harmonics."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = np.ones(points)
    for harmonic in range(2, 7):
        radius += roughness / harmonic * 1.6 * rng.normal() * np.cos(harmonic * angle + rng.uniform(0, 2 * np.pi))
    radius = radius.clip(0.25, None)
    return _polar(radius / radius.max(), angle)


def fill(outline: Outline, size: int, margin: int = 2) -> NDArray[np.uint8]:
    """Draw an outline, anti-aliased, into a square array (size, size) of 0..255; the unit circle fits with a margin."""
    scale = (size / 2 - margin) * 16
    shifted = np.round(outline * scale + (size - 1) / 2 * 16).astype(np.int32)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [shifted], 255, lineType=cv2.LINE_AA, shift=4)
    return mask
