"""Held-out clips: textures, photos and motion that training never draws, two levels of difficulty.

Every clip has an object that an occluder hides for 13 frames or more, one that leaves the picture and returns, two
that cross, sizes that change by 2 x, and a moving camera. *Hard* adds look-alikes, camouflage, low contrast, blur,
noise, changing light and photo backgrounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam_core.synthetic import shapes
from sam_core.synthetic.sprites import make_sprite
from sam_core.training.generator import Clip, degrade, draw_frame
from sam_core.training.photos import HELD_OUT_PHOTOS
from sam_core.training.scenes import (
    SPRITE_SIDE,
    Actor,
    SceneSettings,
    decorate,
    random_outline,
    random_sprite,
    random_texture,
)

__all__ = ["LEVELS", "make_benchmark_clip"]

_TEXTURES = ("cells", "rings", "planks")  # training has: flat, noise, stripes, dots, gradient, checks
LEVELS: dict[str, SceneSettings] = {
    "clear": SceneSettings(textures=_TEXTURES, photo_share=0.0, contrast=90.0, degrade=0.0, decals=1),
    "hard": SceneSettings(
        textures=_TEXTURES, photos=HELD_OUT_PHOTOS, photo_share=0.5, contrast=0.0, degrade=0.5, decals=3, look_alike=0.5
    ),
}
_CAMOUFLAGE = 0.25  # share of objects of the hard level that are cut out of their background
_HIDDEN, _AWAY = 6, 7  # half the frames of an absence


def make_benchmark_clip(level: str, seed: int, frames: int = 60, size: int = 320) -> Clip:
    """Return clip number ``seed`` of a level, always the same.

    Args:
        level: ``clear`` or ``hard``.
        seed: number of the clip.
        frames: length.
        size: side of the square pictures, px.

    Raises:
        ValueError: unknown level.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown level {level!r}: {', '.join(LEVELS)}")
    settings = LEVELS[level]
    rng = np.random.default_rng([list(LEVELS).index(level), 77, seed])
    side = int(size * 1.6)
    background = random_texture(rng, settings, side, side).copy()
    decorate(rng, settings, background)
    mean = background.reshape(-1, 3).mean(0)
    t = np.arange(frames)
    order = rng.permutation(4)
    homes = np.array([[0.3, 0.3], [0.72, 0.3], [0.3, 0.72], [0.72, 0.72]])[order] + rng.uniform(-0.05, 0.05, (4, 2))
    hues = (rng.random() + (rng.permutation(4) + rng.uniform(-0.2, 0.2, 4)) / 4) % 1.0
    actors: list[Actor] = []
    for k in range(4):
        sprite = random_sprite(rng, settings, mean, float(hues[k]))
        if rng.random() < settings.look_alike and actors:
            sprite = actors[int(rng.integers(len(actors)))].sprite
        elif level == "hard" and rng.random() < _CAMOUFLAGE:
            y, x = rng.integers(0, side - SPRITE_SIDE, 2)
            part = background[y : y + SPRITE_SIDE, x : x + SPRITE_SIDE] + rng.uniform(-35, 35, 3)
            texture = part.clip(0, 255).astype(np.uint8)
            sprite = make_sprite(texture, shapes.fill(random_outline(rng), SPRITE_SIDE, margin=8))
        swing = rng.uniform(0.03, 0.08, 2)[None] * np.sin(_phase(rng, t, 2))
        radius = float(rng.uniform(0.085, 0.13)) * 2 ** (0.5 * np.sin(_phase(rng, t, 1)[:, 0]))
        angle = rng.uniform(0, 6.3) + 0.6 * np.sin(_phase(rng, t, 1)[:, 0])
        wobble = (2.5, 45.0, 0.25) if rng.random() < 0.4 else None
        actors.append(Actor(sprite, homes[k] + swing, radius, angle, 1.0, wobble, k + 1))
    occluder = _hide(rng, settings, actors[0], t)
    _leave(rng, actors[1], t)
    _cross(rng, actors[2], actors[3], t)
    cast = [actors[k] for k in rng.permutation(4)] + [occluder]
    images = np.empty((frames, size, size, 3), np.uint8)
    labels = np.zeros((frames, size, size), np.uint8)
    for k, camera in enumerate(_camera(rng, t)):
        draw_frame(images[k], labels[k], background, cast, camera, k)
    degrade(rng, settings, images)
    return Clip(images, labels, 4)


def _phase(rng: np.random.Generator, t: NDArray[np.int64], dims: int) -> NDArray[np.float64]:
    """Return angles (T, dims) that turn 0.6 to 1.6 times over the clip."""
    return 2 * np.pi * (t[:, None] / len(t) * rng.uniform(0.6, 1.6, dims) + rng.random(dims))


def _ease(distance: NDArray[np.floating], reach: float) -> NDArray[np.floating]:
    """Return 0 at no distance, 1 from ``reach`` on, smooth between."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(distance / reach, 0, 1))


def _hide(rng: np.random.Generator, settings: SceneSettings, actor: Actor, t: NDArray[np.int64]) -> Actor:
    """Change an object's path so that an occluder hides it around the clip's middle; returns the occluder."""
    middle = int(rng.integers(int(len(t) * 0.4), int(len(t) * 0.65)))
    cover = float(actor.radius.max()) * 1.2 + 0.02
    place = actor.centre[0].clip(0.25, 0.75)
    inward = np.sign(0.5 - place)
    vertical = bool(rng.random() < 0.5)
    direction = np.array([0.0, inward[1]]) if vertical else np.array([inward[0], 0.0])
    away = _ease(np.maximum(np.abs(t - middle) - _HIDDEN, 0).astype(float), 16.0)
    back = -1.0 if rng.random() < 0.5 else 1.0
    side = np.where(t < middle, 1.0, back)
    reach = (cover + float(actor.radius.max())) * 1.1
    actor.centre = place + direction * (reach * away * side)[:, None]
    outline = shapes.rounded_box(1.0, 10.0) * np.float32(1.41)
    texture = random_texture(rng, settings, SPRITE_SIDE, SPRITE_SIDE)
    sprite = make_sprite(texture, shapes.fill(outline, SPRITE_SIDE, margin=8), shadow=0.3, offset=3, softness=2.5)
    steady = np.full(len(t), cover)
    return Actor(sprite, np.repeat(place[None], len(t), 0), steady, np.zeros(len(t)), 1.0, None, 0)


def _leave(rng: np.random.Generator, actor: Actor, t: NDArray[np.int64]) -> None:
    """Change an object's path so that it leaves the picture over the nearest border and returns."""
    middle = int(rng.integers(int(len(t) * 0.35), int(len(t) * 0.7)))
    x, y = actor.centre[middle]
    distances = np.array([x, 1 - x, y, 1 - y])
    nearest = int(distances.argmin())
    direction = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]], float)[nearest]
    gone = 1 - _ease(np.maximum(np.abs(t - middle) - _AWAY, 0).astype(float), 14.0)
    reach = distances[nearest] + float(actor.radius.max()) * 1.6 + 0.12
    actor.centre = actor.centre + direction * (gone * reach)[:, None]


def _cross(rng: np.random.Generator, first: Actor, second: Actor, t: NDArray[np.int64]) -> None:
    """Change the paths of two objects so that they swap places and meet in the middle."""
    course = 0.5 + 0.5 * np.cos(np.pi * t / (len(t) - 1))
    a, b = first.centre[0].copy(), second.centre[0].copy()
    across = np.array([-(b - a)[1], (b - a)[0]]) * float(rng.uniform(-0.15, 0.15))
    bow = np.sin(np.pi * t / (len(t) - 1))[:, None]
    first.centre = b + (a - b) * course[:, None] + across * bow + 0.3 * (first.centre - first.centre[0])
    second.centre = a + (b - a) * course[:, None] + 0.3 * (second.centre - second.centre[0])


def _camera(rng: np.random.Generator, t: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    shift = 0.05 * np.sin(_phase(rng, t, 2))
    turn = 0.07 * np.sin(_phase(rng, t, 1))[:, 0]
    zoom = 1.08 + 0.08 * np.sin(_phase(rng, t, 1))[:, 0]
    maps = []
    for k in range(len(t)):
        c, s = np.cos(turn[k]) * zoom[k], np.sin(turn[k]) * zoom[k]
        linear = np.array([[c, -s], [s, c]])
        maps.append(np.column_stack([linear, 0.5 + shift[k] - linear @ np.array([0.5, 0.5])]))
    return maps
