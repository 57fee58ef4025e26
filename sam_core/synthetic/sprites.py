"""Sprites (flat pictures with an outline) and how they are laid onto an image together with their truth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Image", "SceneFrame", "Sprite", "Wave", "make_sprite", "paste", "similarity"]

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class SceneFrame:
    """A rendered frame and its truth.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        labels: uint8 (H, W); 0 is background, k the visible pixels of object k.
    """

    image: Image
    labels: Image


@dataclass(frozen=True)
class Sprite:
    """A picture to be pasted.

    Attributes:
        rgba: uint8 (h, w, 4), colours multiplied by opacity, then the opacity (a shadow is opacity without colour).
        solid: uint8 (h, w) 0..255, coverage by the thing itself, without its shadow.
    """

    rgba: Image
    solid: Image


@dataclass(frozen=True)
class Wave:
    """A sine bend of a sprite: displacements in sprite pixels across both axes.

    Attributes:
        amplitude: px.
        length: wave length, px.
        phase: radians; a phase that grows with time makes the sprite wobble.
    """

    amplitude: float
    length: float
    phase: float


def make_sprite(texture: Image, solid: Image, shadow: float = 0.0, offset: int = 6, softness: float = 5.0) -> Sprite:
    """Cut ``solid`` (h, w) out of ``texture`` (h, w, 3); ``shadow`` (0..1) adds a soft shadow, ``offset`` px lower."""
    alpha = solid.astype(np.float32) / 255.0
    opacity = alpha
    if shadow > 0:
        moved = cv2.warpAffine(alpha, np.array([[1.0, 0, offset], [0, 1, offset]]), alpha.shape[::-1])
        opacity = np.maximum(alpha, shadow * cv2.GaussianBlur(moved, (0, 0), softness))
    rgba = np.dstack([texture[..., :3] * alpha[..., None], 255.0 * opacity])
    return Sprite(rgba.round().clip(0, 255).astype(np.uint8), np.ascontiguousarray(solid))


def similarity(
    sprite: Sprite, centre: tuple[float, float], scale: float, angle: float, stretch: float = 1.0
) -> NDArray[np.float64]:
    """Return the 2x3 map from sprite pixels to image pixels: its middle to ``centre``, turned by ``angle`` radians.

    ``stretch`` widens the sprite along its own x axis before it is turned.
    """
    h, w = sprite.solid.shape
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.array([[c * stretch, -s], [s * stretch, c]])
    shift = np.asarray(centre, np.float64) - linear @ np.array([(w - 1) / 2, (h - 1) / 2])
    return np.column_stack([linear, shift])


def paste(
    image: Image,
    labels: Image | None,
    sprite: Sprite,
    matrix: NDArray[np.float64],
    label: int = 0,
    wave: Wave | None = None,
) -> None:
    """Lay a sprite onto ``image`` in place and write ``label`` where it covers more than half of a pixel.

    Args:
        image: uint8 (H, W, 3), changed.
        labels: uint8 (H, W), changed; None to leave the truth alone.
        sprite: what to paste.
        matrix: float (2, 3), sprite pixels to image pixels.
        label: number written into ``labels``; 0 makes the sprite an occluder.
        wave: optional bend.
    """
    h, w = sprite.solid.shape
    corners = np.array([[0, 0, 1], [w, 0, 1], [0, h, 1], [w, h, 1]], np.float64) @ matrix.T
    x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, (image.shape[1], image.shape[0]))
    if x1 <= x0 or y1 <= y0:
        return
    local = matrix.copy()
    local[:, 2] -= (x0, y0)
    size = (int(x1 - x0), int(y1 - y0))
    if wave is None:
        rgba = cv2.warpAffine(sprite.rgba, local, size, flags=cv2.INTER_LINEAR)
        solid = cv2.warpAffine(sprite.solid, local, size, flags=cv2.INTER_LINEAR)
    else:
        mx, my = _bent_grid(local, size, wave)
        rgba = cv2.remap(sprite.rgba, mx, my, cv2.INTER_LINEAR)
        solid = cv2.remap(sprite.solid, mx, my, cv2.INTER_LINEAR)
    part = image[y0:y1, x0:x1]
    keep = cv2.merge([cv2.bitwise_not(cv2.extractChannel(rgba, 3))] * 3)
    part[...] = cv2.add(cv2.multiply(part, keep, scale=1 / 255), cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB))
    if labels is not None:
        labels[y0:y1, x0:x1][solid > 127] = label


def _bent_grid(
    matrix: NDArray[np.float64], size: tuple[int, int], wave: Wave
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return where each image pixel looks into the sprite: the inverse map plus the wave."""
    inverse = cv2.invertAffineTransform(matrix).astype(np.float32)
    x = np.arange(size[0], dtype=np.float32)
    y = np.arange(size[1], dtype=np.float32)[:, None]
    u = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
    v = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
    k = np.float32(2 * np.pi / wave.length)
    a, phase = np.float32(wave.amplitude), np.float32(wave.phase)
    return u + a * np.sin(k * v + phase), v + a * np.sin(k * u + 1.7 * phase)
