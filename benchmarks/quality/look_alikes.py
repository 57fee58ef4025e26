"""Held-out clips of one object and its look-alike, and of one that is away for long.

*Distractors*: the look-alike passes in front of the object, or enters while the object is away and is there when it
returns, or stays beside it all the time; the number of the clip says which. It has the object's shape and look, in
every second clip of a kind another brightness. *Absence*: the object leaves the picture over a border and returns there
after a given time; a thing of another look stays. The camera sways in both. Textures are those of the clear level,
which training never draws.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.clips import LEVELS
from sam_core.synthetic.sprites import Sprite
from sam_core.training.generator import Clip, draw_frame
from sam_core.training.scenes import Actor, decorate, random_sprite, random_texture

__all__ = ["KINDS", "SIZE", "make_absence_clip", "make_distractor_clip"]

KINDS = ("passes", "enters", "beside")
SIZE = 192  # side of the square pictures, px
_SETTINGS = LEVELS["clear"]
_SEED = 1077  # keeps these clips apart from those of other levels
_RADIUS = 0.12  # of the object, in sides of the picture
_BRIGHTER = 40  # levels by which every second look-alike is brighter or darker
_AROUND = 30  # frames before and after an absence
_OUTSIDE = np.array([0.0, 0.62])  # from the object's place to one below the picture

_Path = NDArray[np.float64]


def make_distractor_clip(seed: int, frames: int = 60, size: int = SIZE) -> Clip:
    """Return a clip of an object (label 1), its look-alike (2), and another thing (3), always the same."""
    rng = np.random.default_rng([_SEED, 0, seed])
    background, sprite, other = _looks(rng, size)
    t = np.arange(frames) / (frames - 1)
    place = np.array([rng.uniform(0.38, 0.5), rng.uniform(0.55, 0.65)])
    aside = np.array([rng.uniform(0.3, 0.36), 0.0])
    sway = 0.04 * np.stack((np.sin(7 * t + rng.uniform(0, 6)), np.sin(5 * t + rng.uniform(0, 6))), 1)
    centre, twin = place + sway, place + aside - sway
    kind = KINDS[seed % len(KINDS)]
    if kind == "passes":
        twin = place + aside * np.cos(np.pi * t)[:, None] + 0.02 * sway
    elif kind == "enters":
        centre = centre + _OUTSIDE * _away(t, 0.25, 0.75)[:, None]
        twin = twin + 1.5 * aside * (1 - _ramp(t, 0.35, 0.5))[:, None]
    look = _tinted(rng, sprite) if seed // len(KINDS) % 2 else sprite
    cast = [_still(other, np.array([0.2, 0.2]), frames, 3), _actor(sprite, centre, 1), _actor(look, twin, 2)]
    return _drawn(rng, background, cast, frames, size)


def make_absence_clip(away: int, seed: int, size: int = SIZE) -> Clip:
    """Return a clip of an object (label 1) that is away for `away` frames, and of another thing (2)."""
    rng = np.random.default_rng([_SEED, 1, seed])
    background, sprite, other = _looks(rng, size)
    frames = away + 2 * _AROUND
    t = np.arange(frames, dtype=np.float64)
    place = np.array([rng.uniform(0.35, 0.65), rng.uniform(0.55, 0.65)])
    gone = _away(t, _AROUND - 8, _AROUND + away + 8, ramp=12)
    centre = place + 0.03 * np.sin(t / 9)[:, None] + _OUTSIDE * gone[:, None]
    cast = [_still(other, np.array([0.25, 0.25]), frames, 2), _actor(sprite, centre, 1)]
    return _drawn(rng, background, cast, frames, size)


def _looks(rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], Sprite, Sprite]:
    """Return a background, and the looks of the object and of another thing."""
    side = int(size * 1.6)
    background = random_texture(rng, _SETTINGS, side, side).copy()
    decorate(rng, _SETTINGS, background)
    mean, hue = background.reshape(-1, 3).mean(0), float(rng.random())
    sprite, other = (random_sprite(rng, _SETTINGS, mean, (hue + shift) % 1) for shift in (0.0, 0.5))
    return background, sprite, other


def _tinted(rng: np.random.Generator, sprite: Sprite) -> Sprite:
    """Return a sprite that is brighter or darker."""
    change = _BRIGHTER * (1 if rng.random() < 0.5 else -1) * (sprite.rgba[..., 3:] / 255.0)
    colours = np.clip(sprite.rgba[..., :3] + change, 0, sprite.rgba[..., 3:])
    return replace(sprite, rgba=np.concatenate((colours.astype(np.uint8), sprite.rgba[..., 3:]), 2))


def _ramp(t: NDArray[np.floating], start: float, end: float) -> NDArray[np.floating]:
    """Rise smoothly from 0 to 1 between two times."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip((t - start) / (end - start), 0, 1))


def _away(t: NDArray[np.floating], start: float, end: float, ramp: float = 0.15) -> NDArray[np.floating]:
    """Rise from 0 to 1 after a time, and fall to 0 before another."""
    return _ramp(t, start, start + ramp) * (1 - _ramp(t, end - ramp, end))


def _actor(sprite: Sprite, centre: _Path, label: int) -> Actor:
    frames = len(centre)
    return Actor(sprite, centre, np.full(frames, _RADIUS), 0.2 * np.sin(np.arange(frames) / 11), 1.0, None, label)


def _still(sprite: Sprite, place: NDArray[np.float64], frames: int, label: int) -> Actor:
    return _actor(sprite, np.repeat(place[None], frames, 0), label)


def _drawn(rng: np.random.Generator, background: NDArray[np.uint8], cast: list[Actor], frames: int, size: int) -> Clip:
    """Draw a cast under a camera that sways."""
    images = np.empty((frames, size, size, 3), np.uint8)
    labels = np.zeros((frames, size, size), np.uint8)
    phase = rng.uniform(0, 6, 2)
    for k in range(frames):
        shift = 0.02 * np.sin(k / 13 + phase)
        draw_frame(images[k], labels[k], background, cast, np.column_stack([np.eye(2), shift]), k)
    return Clip(images, labels, max(actor.label for actor in cast))
