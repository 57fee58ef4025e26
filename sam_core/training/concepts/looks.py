"""Drawing of things: outlines, surfaces of two tones, sprites."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.synthetic import shapes, textures
from sam_core.synthetic.sprites import Image, Sprite, make_sprite
from sam_core.training.concepts.vocabulary import COLOURS

__all__ = ["FILL", "Colour", "as_colour", "make_thing", "middle_of"]

_SIDE = 72  # px, side of a sprite's array
_MARGIN = 8
FILL = _SIDE / 2 - _MARGIN  # sprite px that an outline of radius 1 reaches
Colour = tuple[float, float, float]


def _hsv(rng: np.random.Generator, name: str) -> Colour:
    hue, saturation, value = COLOURS[name]
    r, g, b = colorsys.hsv_to_rgb(
        float(rng.uniform(*hue)) / 360 % 1.0, float(rng.uniform(*saturation)), float(rng.uniform(*value))
    )
    return (255 * r, 255 * g, 255 * b)


def middle_of(colour: str) -> Colour:
    """Return the middle of a colour's range, RGB."""
    hue, saturation, value = (sum(limits) / 2 for limits in COLOURS[colour])
    r, g, b = colorsys.hsv_to_rgb(hue / 360 % 1.0, saturation, value)
    return (255 * r, 255 * g, 255 * b)


def _second_tone(rng: np.random.Generator, colour: str, first: Colour, near: bool) -> Colour:
    """Return the other tone of a thing; the first one still names its colour."""
    base = np.asarray(first)
    if near:
        return as_colour(base * float(rng.uniform(0.75, 0.95)))
    if colour == "white":
        return as_colour(np.full(3, rng.uniform(110, 165)))
    if colour == "black":
        return as_colour(np.full(3, rng.uniform(90, 140)))
    pick = rng.random()
    if pick < 0.5:
        return as_colour(np.full(3, rng.uniform(225, 255)))
    if pick < 0.75:
        return as_colour(base * float(rng.uniform(0.35, 0.55)))
    return as_colour(base + (255 - base) * float(rng.uniform(0.5, 0.7)))


def as_colour(rgb: NDArray[np.floating]) -> Colour:
    """Return an array of three as a tuple."""
    r, g, b = (float(v) for v in rgb)
    return (r, g, b)


def _outline(rng: np.random.Generator, shape: str) -> Image:
    """Draw a shape as coverage 0..255, (_SIDE, _SIDE)."""

    def fill(outline: NDArray[np.floating], radius: float = 1.0, at: tuple[float, float] = (0.0, 0.0)) -> Image:
        scaled = outline.astype(np.float32) * np.float32(radius) + np.asarray(at, np.float32)
        return shapes.fill(scaled, _SIDE, _MARGIN)

    if shape == "circle":
        return fill(shapes.disc())
    if shape == "square":
        return fill(shapes.rounded_box(float(rng.uniform(0.85, 1.0)), float(rng.uniform(5, 14))), 1.15)
    if shape == "triangle":
        return fill(shapes.polygon(3), 1.1, (0.0, 0.12))
    if shape == "star":
        return fill(shapes.star(5, float(rng.uniform(0.4, 0.52))), 1.1)
    if shape == "ring":
        return np.asarray(
            cv2.subtract(fill(shapes.disc()), fill(shapes.disc(), float(rng.uniform(0.45, 0.6)))), np.uint8
        )
    if shape == "cross":
        w = float(rng.uniform(0.26, 0.36))
        bar = np.array([[-w, -1], [w, -1], [w, 1], [-w, 1]], np.float32)
        return np.maximum(fill(bar), fill(bar[:, ::-1].copy()))
    if shape == "heart":
        t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        x = 16 * np.sin(t) ** 3
        y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) - 2.5
        return fill(np.stack([x, y], 1).astype(np.float32) / 16)
    if shape == "moon":
        bite = fill(shapes.disc(), 0.85, (float(rng.uniform(0.42, 0.6)), 0.0))
        return np.asarray(cv2.subtract(fill(shapes.disc()), bite), np.uint8)
    oval = shapes.disc() * np.array([1.0, 0.7], np.float32)
    body = np.maximum(fill(shapes.disc() * np.array([0.78, 0.64], np.float32)), fill(oval, 0.34, (0.78, 0.0)))
    for across, along in ((0.48, 0.5), (-0.42, 0.5), (0.48, -0.5), (-0.42, -0.5)):
        body = np.maximum(body, fill(oval, float(rng.uniform(0.26, 0.31)), (across, along)))
    return body


def _surface(rng: np.random.Generator, colour: str, texture: str, shape: str) -> Image:
    """Paint a thing's surface, uint8 (_SIDE, _SIDE, 3)."""
    first = _hsv(rng, colour)
    second = _second_tone(rng, colour, first, near=texture == "plain")
    angle = float(rng.uniform(0, np.pi))
    period = float(rng.uniform(0.22, 0.4)) * _SIDE
    if texture == "striped":
        return textures.stripes(_SIDE, _SIDE, first, second, period * 0.9, angle)
    if texture == "dotted":
        return textures.dots(_SIDE, _SIDE, first, second, period * 0.8, angle)
    if texture == "checkered":
        return textures.checks(_SIDE, _SIDE, first, second, period * 1.3, angle)
    if texture == "pied":
        y, x = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32) - (_SIDE - 1) / 2
        if shape == "turtle" or rng.random() < 0.35:  # a middle of another tone
            patch = np.hypot(x / 0.78, y / 0.64) < FILL * float(rng.uniform(0.85, 1.0) if shape == "turtle" else 0.55)
            return textures.blend(patch.astype(np.float32), first, second)
        sectors = int(rng.integers(2, 5))
        wheel = (np.sin(sectors * np.arctan2(y, x) + angle) * np.hypot(x, y) / 3 + 0.5).clip(0, 1)
        wheel = np.where(np.hypot(x, y) < 0.22 * FILL, 0, wheel)
        return textures.blend(wheel, first, second)
    pick = rng.random()
    if pick < 0.4:
        return textures.blend(np.zeros((_SIDE, _SIDE), np.float32), first, second)
    if pick < 0.7:
        return textures.gradient(_SIDE, _SIDE, first, second, angle)
    return textures.noise(rng, _SIDE, _SIDE, first, second, period)


def make_thing(rng: np.random.Generator, colour: str, shape: str, texture: str) -> Sprite:
    """Draw a thing; `shape` may be any of the vocabulary's."""
    surface = _surface(rng, colour, texture, shape)
    if rng.random() < 0.5 and colour != "white":  # shaded like a solid thing
        y, x = np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j].astype(np.float32)
        direction = rng.uniform(-0.4, 0.4, 2)
        light = 1.1 - 0.35 * ((x + direction[0]) ** 2 + (y + direction[1]) ** 2)
        surface = (surface * light[..., None]).clip(0, 255).astype(np.uint8)
    shadow = 0.4 if rng.random() < 0.4 else 0.0
    return make_sprite(surface, _outline(rng, shape), shadow=shadow, offset=3, softness=2.5)
