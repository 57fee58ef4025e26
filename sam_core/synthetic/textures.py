"""Procedural colour textures: arrays uint8 (H, W, 3) RGB, made from a ``numpy.random.Generator``."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "blend", "cells", "checks", "dots", "gradient", "noise", "planks", "random_colour", "rings", "stripes",
    "value_noise",
]  # fmt: skip

Image = NDArray[np.uint8]
Colour = tuple[float, float, float]


def random_colour(rng: np.random.Generator, hue: float | None = None) -> Colour:
    """Return an RGB colour in 0..255; ``hue`` (0..1) fixes the hue, saturation and value stay random."""
    h = float(rng.random()) if hue is None else hue % 1.0
    r, g, b = colorsys.hsv_to_rgb(h, float(rng.uniform(0.3, 1.0)), float(rng.uniform(0.3, 1.0)))
    return (255.0 * r, 255.0 * g, 255.0 * b)


def value_noise(rng: np.random.Generator, height: int, width: int, cell: tuple[float, float]) -> NDArray[np.float32]:
    """Return smooth noise (H, W) in 0..1: a random grid with cells of ``cell`` = (height, width) px, enlarged."""
    rows = max(2, int(np.ceil(height / cell[0])) + 1)
    columns = max(2, int(np.ceil(width / cell[1])) + 1)
    grid = rng.random((rows, columns), dtype=np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def blend(amount: NDArray[np.floating], low: Colour, high: Colour) -> Image:
    """Mix two colours by ``amount`` (H, W) in 0..1."""
    lo, hi = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return (lo + amount[..., None].astype(np.float32) * (hi - lo)).clip(0, 255).astype(np.uint8)


def noise(rng: np.random.Generator, height: int, width: int, low: Colour, high: Colour, cell: float) -> Image:
    """Return clouds of two colours: two octaves of value noise, the coarser with cells of ``cell`` px."""
    amount = 0.65 * value_noise(rng, height, width, (cell, cell))
    amount += 0.35 * value_noise(rng, height, width, (cell / 3 + 1, cell / 3 + 1))
    return blend(amount, low, high)


def _rotated_grid(height: int, width: int, angle: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * c + y * s, y * c - x * s


def stripes(height: int, width: int, low: Colour, high: Colour, period: float, angle: float) -> Image:
    """Return anti-aliased stripes of two colours with a period in px, turned by ``angle`` radians."""
    u, _ = _rotated_grid(height, width, angle)
    return blend((0.5 + np.sin(u * (2 * np.pi / period)) * period / 6).clip(0, 1), low, high)


def checks(height: int, width: int, low: Colour, high: Colour, period: float, angle: float) -> Image:
    """Return a chessboard of two colours; a field is half a ``period`` wide."""
    u, v = _rotated_grid(height, width, angle)
    k = 2 * np.pi / period
    return blend((0.5 + np.sin(u * k) * np.sin(v * k) * period / 3).clip(0, 1), low, high)


def dots(height: int, width: int, low: Colour, high: Colour, period: float, angle: float) -> Image:
    """Return round dots of colour ``high`` on ``low``, ``period`` px apart."""
    u, v = _rotated_grid(height, width, angle)
    k = 2 * np.pi / period
    return blend(((np.cos(u * k) + np.cos(v * k) - 0.6) * period / 8).clip(0, 1), low, high)


def gradient(height: int, width: int, low: Colour, high: Colour, angle: float) -> Image:
    """Return a linear change from one colour to the other across the array."""
    u, _ = _rotated_grid(height, width, angle)
    return blend((u - u.min()) / max(float(np.ptp(u)), 1e-6), low, high)


def planks(rng: np.random.Generator, height: int, width: int, board: int, tone: Colour) -> Image:
    """Return a floor of horizontal wooden boards, ``board`` px high, in shades of ``tone``."""
    grain = 0.6 * value_noise(rng, height, width, (2.0, 60.0)) + 0.4 * value_noise(rng, height, width, (5.0, 170.0))
    shade = 0.72 + 0.4 * grain
    for top in range(0, height, board):
        rows = slice(top, min(top + board, height))
        left = -int(rng.integers(0, board * 4))
        while left < width:
            right = left + int(rng.integers(board * 4, board * 8))
            columns = slice(max(left, 0), max(min(right, width), 0))
            shade[rows, columns] *= float(rng.uniform(0.82, 1.08))
            shade[rows, max(right - 1, 0) : max(right + 1, 0)] *= 0.6
            left = right
        shade[top : top + 2] *= 0.6
    return (shade[..., None] * np.asarray(tone, np.float32)).clip(0, 255).astype(np.uint8)


def cells(rng: np.random.Generator, height: int, width: int, low: Colour, high: Colour, size: float) -> Image:
    """Return a Voronoi mosaic of about ``size`` px wide cells in shades between two colours."""
    count = max(4, int(height * width / (size * size)))
    sites = rng.random((count, 2)) * (height, width)
    small = 2  # the nearest site is looked up at half resolution
    y, x = np.mgrid[0:height:small, 0:width:small].astype(np.float32)
    distance = (y[..., None] - sites[:, 0]) ** 2 + (x[..., None] - sites[:, 1]) ** 2
    shade = rng.random(count, dtype=np.float32)[distance.argmin(-1)]
    return blend(cv2.resize(shade, (width, height), interpolation=cv2.INTER_NEAREST), low, high)


def rings(rng: np.random.Generator, height: int, width: int, low: Colour, high: Colour, period: float) -> Image:
    """Return concentric rings around a random point, ``period`` px apart."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = np.hypot(y - float(rng.uniform(0, height)), x - float(rng.uniform(0, width)))
    return blend((0.5 + np.sin(radius * (2 * np.pi / period)) * period / 6).clip(0, 1), low, high)
