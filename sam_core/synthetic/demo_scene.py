"""The demo's scene: a ball, a star, a box and a turtle on a wooden floor, seen by a moving camera.

The ball rolls behind a pillar and is hidden completely for more than a second; star and box cross; the turtle comes
twice as close and leaves the picture for a moment. Everything is periodic, so the scene loops seamlessly.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.synthetic import shapes, textures
from sam_core.synthetic.sprites import Image, SceneFrame, Sprite, paste, similarity
from sam_core.synthetic.stage import MARGIN, SIDE, Path, closed_curve, cut_out, pillar, shaded

__all__ = ["DemoScene"]

_PERIOD_S = 12.0
_REACH = 1.5  # the floor reaches this many picture sizes

# Positions over one period at equal times, in picture widths and heights; a closed Catmull-Rom curve joins them.
_BALL = [(0.14, 0.72), (0.24, 0.74), (0.42, 0.73), (0.555, 0.72), (0.605, 0.71), (0.64, 0.70), (0.80, 0.71),
         (0.88, 0.74), (0.74, 0.84), (0.46, 0.88), (0.24, 0.84), (0.14, 0.77)]  # fmt: skip
_STAR = [(0.11, 0.24), (0.18, 0.32), (0.27, 0.36), (0.38, 0.32), (0.38, 0.22), (0.24, 0.14)]
_BOX = [(0.42, 0.20), (0.38, 0.34), (0.24, 0.42), (0.14, 0.46), (0.22, 0.50), (0.38, 0.40)]
_TURTLE = [(0.86, 0.30), (0.80, 0.36), (0.80, 0.44), (0.86, 0.40), (0.98, 0.34), (1.16, 0.30), (1.06, 0.28),
           (0.94, 0.28)]  # fmt: skip


class DemoScene:
    """A deterministic scene with random access to its frames.

    Args:
        width: picture width, px.
        height: picture height, px.
        seed: changes textures and colours of the surroundings, not the course of events.
        fps: frames a second; one loop lasts 12 s.

    Attributes:
        length: frames in one loop; ``render(length)`` equals ``render(0)``.
        object_names: names of the objects 1, 2, ... in this order.
    """

    object_names: tuple[str, ...] = ("red ball", "yellow star", "blue box", "green turtle")

    def __init__(self, width: int = 640, height: int = 480, seed: int = 0, fps: float = 30.0) -> None:
        if width < 32 or height < 32 or fps <= 0:
            raise ValueError(f"a scene needs at least 32x32 pixels and fps > 0, got {width}x{height} at {fps} fps")
        self.width, self.height, self.fps = width, height, fps
        self.length = round(_PERIOD_S * fps)
        self._unit = min(width / 640, height / 480)
        rng = np.random.default_rng(seed)
        self._floor = _floor(rng, round(height * _REACH), round(width * _REACH), self._unit)
        self._pillar = pillar(rng, round(height * 1.25), round(132 * self._unit))
        self._ball, self._star, self._box, self._turtle = _ball(), _star(rng), _box(rng), _turtle(rng)

    def render(self, index: int) -> SceneFrame:
        """Return frame ``index`` (any integer, taken modulo ``length``)."""
        phase = (index % self.length) / self.length
        turn = 2 * math.pi * phase
        shift = (0.035 * math.sin(turn), 0.03 * math.sin(2 * turn + 1.0))
        zoom = 1.0 + 0.05 * math.sin(turn + 0.7)
        image = self._view(shift, zoom)
        labels = np.zeros((self.height, self.width), np.uint8)

        def put(sprite: Sprite, path: Path, radius: float, angle: float, label: int) -> None:
            x, y = closed_curve(path, phase)
            centre = self._to_picture(x, y, shift, zoom)
            scale = radius * self._unit * zoom / (SIDE / 2 - MARGIN)
            paste(image, labels, sprite, similarity(sprite, centre, scale, angle), label)

        put(self._box, _BOX, 56.0, 0.25 * math.sin(2 * turn), 3)
        put(self._star, _STAR, 50.0, 0.8 * math.sin(turn), 2)
        put(self._turtle, _TURTLE, 44.0 * 2 ** (0.5 - 0.5 * math.cos(2 * turn)), -0.6 + 0.3 * math.sin(3 * turn), 4)
        x, _ = closed_curve(_BALL, phase)
        behind = phase < 0.5  # the way there leads behind the pillar, the way back in front of it
        if not behind:
            self._put_pillar(image, labels, shift, zoom)
        put(self._ball, _BALL, 48.0, 9.0 * x, 1)
        if behind:
            self._put_pillar(image, labels, shift, zoom)
        return SceneFrame(image, labels)

    def _to_picture(self, x: float, y: float, shift: tuple[float, float], zoom: float) -> tuple[float, float]:
        return (
            ((x - 0.5 - shift[0]) * zoom + 0.5) * self.width,
            ((y - 0.5 - shift[1]) * zoom + 0.5) * self.height,
        )

    def _view(self, shift: tuple[float, float], zoom: float) -> Image:
        """Return the floor as the camera sees it, uint8 (H, W, 3)."""
        h, w = self._floor.shape[:2]
        x, y = self._to_picture(0.5, 0.5, shift, zoom)
        matrix = np.array([[zoom, 0, x - zoom * w / 2], [0, zoom, y - zoom * h / 2]])
        view = np.empty((self.height, self.width, 3), np.uint8)
        cv2.warpAffine(self._floor, matrix, (self.width, self.height), dst=view, flags=cv2.INTER_LINEAR)
        return view

    def _put_pillar(self, image: Image, labels: Image, shift: tuple[float, float], zoom: float) -> None:
        centre = self._to_picture(0.605, 0.5, shift, zoom)
        paste(image, labels, self._pillar, similarity(self._pillar, centre, zoom, 0.0), 0)


def _floor(rng: np.random.Generator, height: int, width: int, unit: float) -> Image:
    floor = textures.planks(rng, height, width, max(4, round(44 * unit)), (196.0, 158.0, 116.0))
    rug = np.zeros((height, width), np.float32)
    axes = (round(width * 0.22), round(height * 0.20))
    cv2.ellipse(rug, (round(width * 0.40), round(height * 0.62)), axes, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    weave = textures.checks(height, width, (92.0, 108.0, 112.0), (112.0, 128.0, 130.0), max(4.0, 12 * unit), 0.8)
    light = 0.8 + 0.35 * textures.value_noise(rng, height, width, (height / 3, width / 3))
    mixed = floor + rug[..., None] * (weave.astype(np.float32) - floor)
    return (mixed * light[..., None]).clip(0, 255).astype(np.uint8)


def _ball() -> Sprite:
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) - (SIDE - 1) / 2
    sector = (np.sin(3 * np.arctan2(y, x)) * np.hypot(x, y) / 3 + 0.5).clip(0, 1)
    texture = textures.blend(sector, (206, 38, 44), (246, 240, 232))
    cap = cut_out(shapes.disc(), 0.22)[..., None] / np.float32(255)
    texture = (texture + cap * (np.array([206, 38, 44], np.float32) - texture)).astype(np.uint8)
    return shaded(texture, cut_out(shapes.disc()))


def _star(rng: np.random.Generator) -> Sprite:
    texture = textures.noise(rng, SIDE, SIDE, (240, 176, 24), (255, 226, 84), 40.0)
    inner = cut_out(shapes.star(5, 0.5), 0.62)[..., None] / np.float32(255)
    texture = (texture + inner * (np.array([255, 238, 150], np.float32) - texture)).astype(np.uint8)
    return shaded(texture, cut_out(shapes.star(5, 0.5), 1.1))


def _box(rng: np.random.Generator) -> Sprite:
    texture = textures.checks(SIDE, SIDE, (32, 74, 170), (70, 132, 226), 56.0, 0.0)
    frame = cut_out(shapes.rounded_box(), 1.2).astype(np.float32) - cut_out(shapes.rounded_box(), 1.0)
    dark = np.array([20, 44, 110], np.float32)
    texture = (texture + frame[..., None] / 255 * (dark - texture)).clip(0, 255).astype(np.uint8)
    return shaded(texture, cut_out(shapes.rounded_box(), 1.2))


def _turtle(rng: np.random.Generator) -> Sprite:
    limbs: NDArray[np.uint8] = np.zeros((SIDE, SIDE), np.uint8)
    oval = shapes.disc() * np.array([1.0, 0.7], np.float32)
    for x, y, radius in ((0.48, 0.5, 0.3), (-0.42, 0.5, 0.26), (0.48, -0.5, 0.3), (-0.42, -0.5, 0.26)):
        limbs = np.maximum(limbs, cut_out(oval, radius, (x, y)))
    limbs = np.maximum(limbs, cut_out(oval, 0.34, (0.8, 0.0)))
    shell = cut_out(shapes.disc() * np.array([0.78, 0.64], np.float32))
    skin = textures.noise(rng, SIDE, SIDE, (120, 168, 62), (154, 200, 84), 20.0).astype(np.float32)
    plates = textures.checks(SIDE, SIDE, (26, 92, 52), (58, 140, 74), 58.0, 0.6).astype(np.float32)
    texture = skin + shell[..., None] / np.float32(255) * (plates - skin)
    eyes = np.maximum(cut_out(shapes.disc(), 0.06, (0.9, 0.1)), cut_out(shapes.disc(), 0.06, (0.9, -0.1)))
    texture *= 1 - eyes[..., None] / np.float32(255)
    return shaded(texture.clip(0, 255).astype(np.uint8), np.maximum(limbs, shell))
