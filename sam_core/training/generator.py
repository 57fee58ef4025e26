"""Random clips with truth: a few milliseconds a clip, the same clip for the same seed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.synthetic import shapes
from sam_core.synthetic.sprites import Image, Wave, make_sprite, paste, similarity
from sam_core.training.scenes import (
    SPRITE_SIDE,
    Actor,
    SceneSettings,
    curve,
    decorate,
    random_sprite,
    random_texture,
)

__all__ = ["Clip", "degrade", "draw_frame", "make_clip"]

_FILL = SPRITE_SIDE / 2 - 8  # sprite px that an outline of radius 1 reaches


@dataclass(frozen=True)
class Clip:
    """A clip and its truth.

    Attributes:
        images: uint8 (T, S, S, 3) RGB.
        labels: uint8 (T, S, S); 0 background, k visible pixels of object k.
        objects: number of objects (some may be invisible in some frames).
    """

    images: Image
    labels: Image
    objects: int


def make_clip(rng: np.random.Generator, settings: SceneSettings) -> Clip:
    """Draw a clip.

    Args:
        rng: source of all randomness.
        settings: distribution to draw from.
    """
    size, frames = settings.size, settings.frames
    side = int(size * 1.5)
    background = random_texture(rng, settings, side, side).copy()
    decorate(rng, settings, background)
    mean = background.reshape(-1, 3).mean(0)
    count = int(rng.integers(settings.objects[0], settings.objects[1] + 1))
    hues = (rng.random() + (rng.permutation(count) + rng.uniform(-0.3, 0.3, count)) / count) % 1.0
    actors: list[Actor] = []
    occluders: list[Actor] = []
    free: list[Actor] = []
    for k in range(count):
        actor = _object(rng, settings, k + 1, mean, float(hues[k]))
        if actors and rng.random() < settings.look_alike:
            actor.sprite = actors[int(rng.integers(len(actors)))].sprite
        if frames > 2 and rng.random() < settings.events:
            occluder = _event(rng, settings, actor)
            if occluder is not None:
                occluders.append(occluder)
        else:
            free.append(actor)
        actors.append(actor)
    if frames > 2 and len(free) > 1 and settings.crossing > 0 and rng.random() < settings.crossing:
        _cross(rng, free[0], free[1])
    rng.shuffle(actors)
    cast = actors + occluders
    images = np.empty((frames, size, size, 3), np.uint8)
    labels = np.zeros((frames, size, size), np.uint8)
    camera = _camera(rng, settings)
    for t in range(frames):
        draw_frame(images[t], labels[t], background, cast, camera[t], t)
    degrade(rng, settings, images)
    return Clip(images, labels, count)


def _object(
    rng: np.random.Generator, settings: SceneSettings, label: int, mean: NDArray[np.float64], hue: float
) -> Actor:
    frames = settings.frames
    radius = float(np.exp(rng.uniform(*np.log(settings.radius))))
    path = rng.uniform(0.12, 0.88, 2) + curve(rng, frames, settings.speed * frames / 3)
    path = 1 - np.abs(1 - np.abs(path) % 2)  # reflected into the picture
    growth = np.exp(curve(rng, frames, np.log(settings.growth) / 3, 1)[:, 0])
    angle = rng.uniform(0, 2 * np.pi) + curve(rng, frames, 0.35, 1)[:, 0]
    wobble = None
    if rng.random() < settings.deform:
        wobble = (float(rng.uniform(1.0, 4.0)), float(rng.uniform(30, 70)), float(rng.uniform(-0.8, 0.8)))
    sprite = random_sprite(rng, settings, mean, hue)
    return Actor(sprite, path, radius * growth, angle, float(rng.uniform(0.7, 1.4)), wobble, label)


def _event(rng: np.random.Generator, settings: SceneSettings, actor: Actor) -> Actor | None:
    """Let an actor leave the picture (changes its path) or hide it (returns what hides it)."""
    frames = settings.frames
    first = int(rng.integers(1, max(2, int(frames * 0.7))))
    length = int(rng.integers(max(1, frames // 5), max(2, frames // 2) + 1))
    t = np.arange(frames)
    ramp = float(rng.uniform(1.5, 1.5 + frames / 4))
    gone = np.where(t < first, (first - t) / ramp, np.maximum(t - (first + length - 1), 0) / ramp)
    away = np.clip(gone, 0, 1)  # 0 while absent, 1 far from the event
    away = away * away * (3 - 2 * away)
    side = np.where(t < first, -1.0, 1.0 if rng.random() < 0.7 else -1.0)
    if rng.random() < 0.35:
        place = actor.centre[min(first, frames - 1)]
        reach = actor.radius.max() * 1.5 + 0.05 + 0.5 * settings.camera
        borders = np.array([place[0], 1 - place[0], place[1], 1 - place[1]])
        nearest = int(np.argmin(borders))
        direction = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]], float)[nearest]
        actor.centre = actor.centre + direction * ((borders[nearest] + reach) * (1 - away))[:, None]
        return None
    cover = actor.radius * max(actor.stretch, 1.0) * float(rng.uniform(1.1, 1.35)) + 0.01
    distance = (cover.max() + actor.radius.max() * max(actor.stretch, 1.0)) * 1.1
    angle = float(rng.uniform(0, np.pi * 2))
    direction = np.array([np.cos(angle), np.sin(angle)])
    offset = direction * (distance * away * side)[:, None]
    if rng.random() < 0.6:  # the object passes behind a thing that stands still
        stand = actor.centre[min(first, frames - 1)].clip(0.2, 0.8)
        place = np.repeat(stand[None], frames, 0)
        actor.centre = place - offset
        cover = np.full(frames, cover.max())
    else:  # a thing passes in front of the object
        place = actor.centre + offset
    long = 1.0 if rng.random() < 0.5 else float(rng.uniform(1.5, 3.5))
    outline = shapes.rounded_box(1.0, float(rng.uniform(5, 14))) * np.float32(1.41)
    if long == 1.0 and rng.random() < 0.4:
        outline = shapes.disc()
    texture = random_texture(rng, settings, SPRITE_SIDE, SPRITE_SIDE)
    solid = shapes.fill(outline, SPRITE_SIDE, margin=8)
    turned = np.full(frames, angle + np.pi / 2)  # a long one lies across the object's way
    return Actor(make_sprite(texture, solid), place, cover, turned, long, None, 0)


def _cross(rng: np.random.Generator, still: Actor, moved: Actor) -> None:
    """Let one actor pass over or under another, around a random frame (changes the path of the second)."""
    frames = len(moved.centre)
    t = np.arange(frames) - rng.uniform(0.2, 0.8) * frames
    course = np.clip(t / rng.uniform(1.5, 1.5 + frames / 3), -1, 1)
    reach = float(still.radius.max() + moved.radius.max()) * 1.3
    angle = float(rng.uniform(0, 2 * np.pi))
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]]) * float(rng.uniform(-0.5, 0.5) * still.radius.mean())
    own = 0.3 * (moved.centre - moved.centre[0])
    moved.centre = still.centre + reach * course[:, None] * along + across + own


def _camera(rng: np.random.Generator, settings: SceneSettings) -> list[NDArray[np.float64]]:
    """Return one 2x3 map a frame from world to picture, both in picture sizes."""
    frames = settings.frames
    shift = curve(rng, frames, settings.camera / 3).clip(-0.18, 0.18)
    turn = curve(rng, frames, settings.camera / 3, 1)[:, 0].clip(-0.2, 0.2)
    zoom = np.exp(curve(rng, frames, settings.camera / 3, 1)[:, 0]).clip(0.95, 1.4)
    maps = []
    for t in range(frames):
        c, s = np.cos(turn[t]) * zoom[t], np.sin(turn[t]) * zoom[t]
        linear = np.array([[c, -s], [s, c]])
        maps.append(np.column_stack([linear, 0.5 + shift[t] - linear @ np.array([0.5, 0.5])]))
    return maps


def draw_frame(
    image: Image, labels: Image, background: Image, cast: list[Actor], camera: NDArray[np.float64], t: int
) -> None:
    """Draw frame ``t`` of a cast onto ``image`` (S, S, 3) and its truth onto ``labels`` (S, S), both in place.

    ``camera`` is the 2x3 map from world to picture, both in picture sizes; later actors cover earlier ones.
    """
    size, side = image.shape[0], background.shape[0]
    linear, shift = camera[:, :2], camera[:, 2] * size
    middle = np.array([(side - 1) / 2, (side - 1) / 2])
    to_view = np.column_stack([linear, shift + linear @ np.full(2, size / 2) - linear @ middle])
    cv2.warpAffine(background, to_view, (size, size), dst=image, borderMode=cv2.BORDER_REFLECT_101)
    zoom = float(np.hypot(linear[0, 0], linear[1, 0]))
    turn = float(np.arctan2(linear[1, 0], linear[0, 0]))
    for actor in cast:
        x, y = linear @ actor.centre[t] * size + shift
        scale = float(actor.radius[t]) * size * zoom / _FILL
        matrix = similarity(actor.sprite, (x, y), scale, float(actor.angle[t]) + turn, actor.stretch)
        wave = None
        if actor.wobble is not None:
            amplitude, length, step = actor.wobble
            wave = Wave(amplitude, length, step * t)
        paste(image, labels, actor.sprite, matrix, actor.label, wave)


def degrade(rng: np.random.Generator, settings: SceneSettings, images: Image) -> None:
    """Change light, blur or add noise, in place, over the whole clip."""
    frames = len(images)
    if rng.random() < settings.degrade:
        gain = np.exp(curve(rng, frames, 0.12, 1)).clip(0.6, 1.5)
        for t in range(frames):
            cv2.convertScaleAbs(images[t], dst=images[t], alpha=float(gain[t, 0]))
    if rng.random() < settings.degrade:
        for t in range(frames):
            images[t] = cv2.GaussianBlur(images[t], (0, 0), float(rng.uniform(0.4, 1.6)))
    if rng.random() < settings.degrade:
        level = float(rng.uniform(2, 12))
        grain = rng.normal(0, level, (images.shape[1] + 16, images.shape[2] + 16, 3))
        for t in range(frames):
            y, x = rng.integers(0, 16, 2)
            part = grain[y : y + images.shape[1], x : x + images.shape[2]]
            images[t] = (images[t] + part).clip(0, 255).astype(np.uint8)
