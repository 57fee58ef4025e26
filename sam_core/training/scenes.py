"""The content of a random clip: objects, occluders, decals, a background and their paths, drawn from settings."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.synthetic import shapes, textures
from sam_core.synthetic.sprites import Image, Sprite, make_sprite
from sam_core.training.checks import Amount, Count, Share, Whole
from sam_core.training.photos import TRAINING_PHOTOS, available_photos, photo_texture

__all__ = ["Actor", "SceneSettings", "curve", "random_outline", "random_texture"]

SPRITE_SIDE = 72  # px


@dataclass(frozen=True)
class SceneSettings:
    """The distribution of random clips. Lengths are in picture sizes, speeds in picture sizes a frame.

    Attributes:
        size: side of the square pictures, px.
        frames: pictures in a clip.
        objects: smallest and largest number of objects.
        radius: range of an object's radius.
        speed: typical movement of an object between two frames.
        growth: largest change of an object's size over the clip.
        camera: typical movement of the camera over the clip.
        events: probability that an object is hidden or leaves the picture for some frames.
        crossing: probability that two objects without such an event meet, one passing over the other.
        deform: probability that an object wobbles.
        look_alike: probability that an object is a second copy of another one.
        contrast: smallest distance of an object's mean colour from the background's (0..441).
        textures: kinds of procedural textures.
        photos: file names of photo textures.
        photo_share: probability that a texture is a photo.
        decals: largest number of flat patches on the background.
        degrade: probability of blur, noise or changing light.
    """

    size: Count = 192
    frames: Count = 8
    objects: tuple[Count, Count] = (3, 4)
    radius: tuple[Amount, Amount] = (0.1, 0.24)
    speed: Amount = 0.025
    growth: Amount = 1.5
    camera: Amount = 0.12
    events: Share = 0.5
    crossing: Share = 0.0
    deform: Share = 0.4
    look_alike: Share = 0.0
    contrast: Amount = 60.0
    textures: tuple[str, ...] = ("flat", "noise", "stripes", "dots", "gradient", "checks")
    photos: tuple[str, ...] = field(default=TRAINING_PHOTOS)
    photo_share: Share = 0.2
    decals: Whole = 2
    degrade: Share = 0.1


@dataclass
class Actor:
    """One pasted thing of a clip.

    Attributes:
        sprite: its look.
        centre: float (T, 2) xy, picture sizes, before the camera.
        radius: float (T,), picture sizes.
        angle: float (T,), radians.
        stretch: width over height of the sprite.
        wobble: amplitude (sprite px), wave length (sprite px) and phase step a frame; None for a stiff thing.
        label: number in the truth; 0 for occluders.
    """

    sprite: Sprite
    centre: NDArray[np.float64]
    radius: NDArray[np.float64]
    angle: NDArray[np.float64]
    stretch: float
    wobble: tuple[float, float, float] | None
    label: int


def curve(rng: np.random.Generator, frames: int, spread: float, dims: int = 2) -> NDArray[np.float64]:
    """Return a smooth random walk (frames, dims) that starts at 0: a cubic through four random keys.

    ``spread`` is the typical distance between neighbouring keys.
    """
    keys = np.concatenate([np.zeros((1, dims)), rng.normal(0, spread, (3, dims))]).cumsum(0)
    t = np.linspace(0, 3, frames)
    basis = np.stack([np.prod([(t - j) / (i - j) for j in range(4) if j != i], 0) for i in range(4)], 1)
    return np.asarray(basis @ keys)


def random_texture(
    rng: np.random.Generator, settings: SceneSettings, height: int, width: int, hue: float | None = None
) -> Image:
    """Return a texture uint8 (height, width, 3) of a kind that the settings allow."""
    if rng.random() < settings.photo_share:
        names = available_photos(settings.photos)
        if names:
            return photo_texture(rng, names[int(rng.integers(len(names)))], height, width)
    kind = settings.textures[int(rng.integers(len(settings.textures)))]
    low = textures.random_colour(rng, hue)
    other = None if hue is None or rng.random() < 0.3 else hue + float(rng.normal(0, 0.06))
    high = textures.random_colour(rng, other)
    period = float(rng.uniform(0.12, 0.5)) * height
    angle = float(rng.uniform(0, np.pi))
    if kind == "flat":
        return np.full((height, width, 3), low, np.float32).astype(np.uint8)
    if kind == "noise":
        return textures.noise(rng, height, width, low, high, period)
    if kind == "stripes":
        return textures.stripes(height, width, low, high, period, angle)
    if kind == "dots":
        return textures.dots(height, width, low, high, period, angle)
    if kind == "checks":
        return textures.checks(height, width, low, high, period, angle)
    if kind == "gradient":
        return textures.gradient(height, width, low, high, angle)
    if kind == "planks":
        return textures.planks(rng, height, width, max(4, int(period / 2)), low)
    if kind == "cells":
        return textures.cells(rng, height, width, low, high, period)
    if kind == "rings":
        return textures.rings(rng, height, width, low, high, period)
    raise ValueError(f"unknown texture kind {kind!r}")


def random_outline(rng: np.random.Generator) -> shapes.Outline:
    """Return a random outline within the unit circle."""
    kind = int(rng.integers(0, 6))
    if kind == 0:
        return shapes.disc()
    if kind == 1:
        return shapes.polygon(int(rng.integers(3, 7)))
    if kind == 2:
        return shapes.star(int(rng.integers(4, 8)), float(rng.uniform(0.4, 0.75)))
    if kind == 3:
        return shapes.rounded_box(float(rng.uniform(0.5, 1.0)), float(rng.uniform(3, 12)))
    return shapes.blob(rng, float(rng.uniform(0.2, 0.5)))


def random_sprite(
    rng: np.random.Generator, settings: SceneSettings, avoid: NDArray[np.float64] | None, hue: float | None
) -> Sprite:
    """Return a sprite whose mean colour is at least the settings' contrast away from the colour ``avoid`` (3,)."""
    texture = random_texture(rng, settings, SPRITE_SIDE, SPRITE_SIDE, hue)
    if avoid is not None:
        for _ in range(6):
            if float(np.linalg.norm(texture.reshape(-1, 3).mean(0) - avoid)) >= settings.contrast:
                break
            texture = random_texture(rng, settings, SPRITE_SIDE, SPRITE_SIDE, float(rng.random()))
    if rng.random() < 0.4:  # a second part of another look: a thing is not one texture
        part = shapes.fill(random_outline(rng) * rng.uniform(0.3, 0.6), SPRITE_SIDE, margin=6)
        other = random_texture(rng, settings, SPRITE_SIDE, SPRITE_SIDE)
        texture = np.where(part[..., None] > 127, other, texture)
    if rng.random() < 0.5:  # shaded like a solid thing
        y, x = np.mgrid[-1 : 1 : SPRITE_SIDE * 1j, -1 : 1 : SPRITE_SIDE * 1j].astype(np.float32)
        direction = rng.uniform(-0.4, 0.4, 2)
        light = 1.1 - 0.4 * ((x + direction[0]) ** 2 + (y + direction[1]) ** 2)
        texture = (texture * light[..., None]).clip(0, 255).astype(np.uint8)
    solid = shapes.fill(random_outline(rng), SPRITE_SIDE, margin=8)
    shadow = 0.4 if rng.random() < 0.3 else 0.0
    return make_sprite(texture, solid, shadow=shadow, offset=3, softness=2.5)


def decorate(rng: np.random.Generator, settings: SceneSettings, background: Image) -> None:
    """Paint flat patches onto the background, in place: things that are not objects and do not move."""
    side = background.shape[0]
    for _ in range(int(rng.integers(0, settings.decals + 1))):
        patch = shapes.fill(random_outline(rng), 64, margin=2)
        size = int(side * rng.uniform(0.1, 0.5))
        patch = np.asarray(cv2.resize(patch, (size, size)), np.uint8)
        y, x = rng.integers(0, side - size, 2)
        colour = np.asarray(textures.random_colour(rng), np.float32)
        area = background[y : y + size, x : x + size]
        alpha = patch[..., None].astype(np.float32) / 255 * float(rng.uniform(0.4, 1.0))
        area[...] = (area + alpha * (colour - area)).astype(np.uint8)
