"""A scene for following by word: two red circles among things that share their colour or their shape.

One circle goes behind a pillar and is hidden for about two seconds, twice a loop. The other leaves the picture on the
left and comes back from above, smaller, five seconds later. Everything is periodic, so the scene loops seamlessly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sam_core.synthetic import shapes, textures
from sam_core.synthetic.sprites import SceneFrame, Sprite, paste, similarity
from sam_core.synthetic.stage import MARGIN, SIDE, Path, closed_curve, cut_out, pillar, shaded

__all__ = ["TwinScene"]

_PERIOD_S = 20.0
_RADIUS = 60.0  # px in a picture of 640 x 480, as the pillar's width
_PILLAR_AT, _PILLAR_WIDTH = 0.56, 176.0  # in picture widths, px

# Positions over one period at equal times, in picture widths and heights.
_HIDING: Path = [(0.28, 0.80), (0.17, 0.81), (0.24, 0.80), (0.40, 0.79), (0.53, 0.80), (0.59, 0.80), (0.70, 0.80),
                 (0.85, 0.79), (0.86, 0.81), (0.74, 0.81), (0.59, 0.80), (0.53, 0.80), (0.40, 0.80)]  # fmt: skip
_LEAVING: Path = [(0.22, 0.18), (0.26, 0.19), (0.32, 0.20), (0.30, 0.22), (0.26, 0.20), (0.16, 0.21), (0.00, 0.21),
                  (-0.28, 0.20), (-0.10, -0.35), (0.28, -0.30), (0.33, 0.16), (0.30, 0.22), (0.24, 0.20)]  # fmt: skip
_TRIANGLE: Path = [(0.82, 0.17), (0.86, 0.20), (0.84, 0.23), (0.80, 0.20)]
_BLUE: Path = [(0.22, 0.50), (0.28, 0.52), (0.32, 0.50), (0.26, 0.48)]
_STAR: Path = [(0.85, 0.50), (0.82, 0.53), (0.79, 0.50), (0.82, 0.47)]


@dataclass(frozen=True)
class _Thing:
    """What is seen of a thing, where it moves, and the share by which it is smaller three quarters of a loop on."""

    sprite: Sprite
    path: Path
    shrinks: float = 0.0


class TwinScene:
    """A deterministic scene with random access to its frames.

    Args:
        width: picture width, px.
        height: picture height, px.
        seed: changes the surroundings, not the course of events.
        fps: frames a second; one loop lasts 20 s.

    Attributes:
        length: frames in one loop; ``render(length)`` equals ``render(0)``.
        object_names: names of the objects 1, 2, ... in this order.
    """

    object_names: tuple[str, ...] = (
        "hiding red circle", "leaving red circle", "red triangle", "blue circle", "yellow star",
    )  # fmt: skip

    def __init__(self, width: int = 640, height: int = 480, seed: int = 0, fps: float = 30.0) -> None:
        if width < 32 or height < 32 or fps <= 0:
            raise ValueError(f"a scene needs at least 32x32 pixels and fps > 0, got {width}x{height} at {fps} fps")
        self.width, self.height, self.fps = width, height, fps
        self.length = round(_PERIOD_S * fps)
        self._unit = min(width / 640, height / 480)
        rng = np.random.default_rng(seed)
        self._wall = textures.noise(rng, height, width, (150, 158, 152), (186, 190, 180), 90 * self._unit)
        self._pillar = pillar(rng, round(height * 1.1), round(_PILLAR_WIDTH * self._unit))
        disc, triangle, star = shapes.disc(), shapes.polygon(3), shapes.star()
        self._things = (
            _Thing(_plain((214, 30, 36), disc), _HIDING),
            _Thing(_plain((206, 28, 40), disc), _LEAVING, shrinks=0.35),
            _Thing(_plain((210, 32, 32), triangle, 1.1), _TRIANGLE),
            _Thing(_plain((40, 82, 220), disc), _BLUE),
            _Thing(_plain((248, 214, 40), star, 1.1), _STAR),
        )

    def render(self, index: int) -> SceneFrame:
        """Return frame ``index`` (any integer, taken modulo ``length``)."""
        phase = (index % self.length) / self.length
        wave = math.sin(2 * math.pi * phase)
        image = self._wall.copy()
        labels = np.zeros((self.height, self.width), np.uint8)
        for label, thing in enumerate(self._things, start=1):
            x, y = closed_curve(thing.path, phase)
            radius = _RADIUS * self._unit * (1 - thing.shrinks * (1 - wave) / 2)
            centre = (x * self.width, y * self.height)
            matrix = similarity(thing.sprite, centre, radius / (SIDE / 2 - MARGIN), 0.3 * wave)
            paste(image, labels, thing.sprite, matrix, label)
        centre = (_PILLAR_AT * self.width, self.height / 2)
        paste(image, labels, self._pillar, similarity(self._pillar, centre, 1.0, 0.0))
        return SceneFrame(image, labels)


def _plain(colour: textures.Colour, outline: shapes.Outline, radius: float = 1.0) -> Sprite:
    """Return a lit thing of one colour."""
    low = (colour[0] * 0.83, colour[1] * 0.83, colour[2] * 0.83)
    return shaded(textures.gradient(SIDE, SIDE, colour, low, math.pi / 2), cut_out(outline, radius))
