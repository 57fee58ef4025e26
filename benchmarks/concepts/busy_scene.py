"""A scene that has what the rules for concepts are for: red circles that cross, leave and enter, among clutter.

It was laid out before anything was measured on it, after what the rules are said to do: objects enter, leave, cross and
are doubled; things that share their shape or nearly their colour raise false alarms, some for a moment only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sam_core.synthetic import shapes, textures
from sam_core.synthetic.sprites import SceneFrame, Sprite, paste, similarity
from sam_core.synthetic.stage import MARGIN, SIDE, cut_out, pillar, shaded

__all__ = ["BusyScene"]

_PERIOD_S = 20.0
_PILLAR_AT, _PILLAR_WIDTH = 0.60, 100.0  # in picture widths, px in a picture of 640 x 480
_RED, _ORANGE, _BROWN = (214, 30, 36), (226, 96, 30), (150, 52, 40)

Place = tuple[float, float, float]  # share of the loop, and where then, in picture widths and heights


@dataclass(frozen=True)
class _Thing:
    """What is seen of a thing, its radius in px of a picture of 640 x 480, and where it is, linear in between."""

    sprite: Sprite
    radius: float
    places: tuple[Place, ...]

    def at(self, phase: float) -> tuple[float, float]:
        times, xs, ys = zip(*self.places, strict=True)
        return float(np.interp(phase, times, xs)), float(np.interp(phase, times, ys))


def _disc(colour: textures.Colour) -> Sprite:
    return _plain(colour, shapes.disc())


def _plain(colour: textures.Colour, outline: shapes.Outline) -> Sprite:
    low = (colour[0] * 0.83, colour[1] * 0.83, colour[2] * 0.83)
    return shaded(textures.gradient(SIDE, SIDE, colour, low, math.pi / 2), cut_out(outline))


_OUT = (-0.3, -0.3)  # of the picture


def _briefly(begin: float, x: float, y: float) -> tuple[Place, ...]:
    """Return the places of a thing that is there for a twentieth of the loop."""
    end = begin + 0.05
    return ((begin - 0.001, *_OUT), (begin, x, y), (end, x, y), (end + 0.001, *_OUT))


class BusyScene:
    """A deterministic scene of 20 s with random access to its frames.

    Args:
        width: picture width, px.
        height: picture height, px.
        seed: changes the surroundings, not the course of events.
        fps: frames a second.

    Attributes:
        length: frames.
        meant: numbers of the red circles in the truth; the others are clutter.
    """

    meant: tuple[int, ...] = (1, 2, 3, 4)

    def __init__(self, width: int = 640, height: int = 480, seed: int = 0, fps: float = 5.0) -> None:
        self.width, self.height = width, height
        self.length = round(_PERIOD_S * fps)
        self._unit = min(width / 640, height / 480)
        rng = np.random.default_rng(seed)
        self._wall = textures.noise(rng, height, width, (150, 158, 152), (186, 190, 180), 90 * self._unit)
        self._pillar = pillar(rng, round(height * 1.1), round(_PILLAR_WIDTH * self._unit))
        red, orange, brown = _disc(_RED), _disc(_ORANGE), _disc(_BROWN)
        hexagon, triangle = _plain(_RED, shapes.polygon(6)), _plain(_RED, shapes.polygon(3))
        blue = _disc((40, 82, 220))
        self._things = (
            # Two that cross twice, the second in front.
            _Thing(red, 52, ((0.0, 0.15, 0.75), (0.45, 0.50, 0.72), (0.55, 0.50, 0.75), (1.0, 0.12, 0.78))),
            _Thing(red, 52, ((0.0, 0.45, 0.76), (0.45, 0.12, 0.74), (0.55, 0.15, 0.76), (1.0, 0.48, 0.74))),
            # One that goes behind the pillar and then leaves for good.
            _Thing(red, 48, ((0, 0.42, 0.25), (0.2, 0.6, 0.25), (0.3, 0.6, 0.25), (0.5, 0.85, 0.25), (0.6, 1.3, 0.2))),
            # One that comes in later.
            _Thing(red, 50, ((0.5, 0.90, 1.4), (0.62, 0.85, 0.75), (1.0, 0.80, 0.55))),
            # Clutter: near in colour or in shape, and things that are there for a second.
            _Thing(hexagon, 46, ((0.0, 0.14, 0.20), (0.5, 0.22, 0.28), (1.0, 0.14, 0.20))),
            _Thing(orange, 46, ((0.0, 0.88, 0.50), (0.4, 0.80, 0.48), (0.5, 0.9, 0.2), (1.0, 0.92, 0.2))),
            _Thing(triangle, 50, ((0.0, 0.30, 0.45), (0.5, 0.36, 0.50), (1.0, 0.30, 0.45))),
            _Thing(blue, 50, ((0.0, 0.10, 0.47), (1.0, 0.16, 0.47))),
            _Thing(brown, 40, _briefly(0.1, 0.75, 0.75)),
            _Thing(orange, 40, _briefly(0.35, 0.40, 0.15)),
            _Thing(red, 16, _briefly(0.7, 0.45, 0.20)),  # too far away to be meant
            _Thing(brown, 44, _briefly(0.85, 0.45, 0.35)),
        )  # fmt: skip

    @property
    def clutter(self) -> tuple[int, ...]:
        """Numbers of what is not meant."""
        return tuple(i for i in range(1, len(self._things) + 1) if i not in self.meant)

    def render(self, index: int) -> SceneFrame:
        """Return frame ``index``."""
        phase = index / self.length
        image = self._wall.copy()
        labels = np.zeros((self.height, self.width), np.uint8)
        for label, thing in enumerate(self._things, start=1):
            x, y = thing.at(phase)
            matrix = similarity(
                thing.sprite, (x * self.width, y * self.height), thing.radius * self._unit / (SIDE / 2 - MARGIN), 0.0
            )
            paste(image, labels, thing.sprite, matrix, label)
        centre = (_PILLAR_AT * self.width, self.height / 2)
        paste(image, labels, self._pillar, similarity(self._pillar, centre, 1.0, 0.0))
        return SceneFrame(image, labels)
