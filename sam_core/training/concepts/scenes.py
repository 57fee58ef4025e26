"""Random pictures of things that words can name, with their truth."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.synthetic import textures
from sam_core.synthetic.sprites import Image, paste, similarity
from sam_core.training.checks import Amount, Count, Share, Whole
from sam_core.training.concepts.looks import FILL, Colour, as_colour, make_thing, middle_of
from sam_core.training.concepts.vocabulary import COLOURS, HELD_OUT, SHAPES, TEXTURES, Look
from sam_core.training.photos import TRAINING_PHOTOS, available_photos, photo_texture

__all__ = ["ConceptScene", "PictureSettings", "Thing", "draw_scene"]

_RADII = {"small": (0.08, 0.1), "medium": (0.115, 0.145), "large": (0.17, 0.22)}  # of the picture's side


@dataclass(frozen=True)
class PictureSettings:
    """The distribution of random pictures.

    Attributes:
        size: side of the square picture, px.
        kinds: smallest and largest number of different looks.
        things: largest number of things.
        plain: probability that a look is plain for sure; otherwise it has any texture.
        zoom: factor on the sizes of things; "small" and "large" refer to a factor of 1.
        unseen: probability that a look is of a combination that training never sees; 0 in training.
        backgrounds: kinds of procedural backgrounds.
        photos: file names of photo backgrounds.
        photo_share: probability that the background is a photo.
        decals: largest number of patches on the background that have no name.
        turn: largest rotation of a thing that is not round, radians.
        overlap: how far things may reach into each other, as a share of their radii.
        degrade: probability of each of changed light, blur and noise.
    """

    size: Count = 160
    kinds: tuple[Count, Count] = (2, 5)
    things: Count = 8
    plain: Share = 0.3
    zoom: Amount = 1.0
    unseen: Share = 0.0
    backgrounds: tuple[str, ...] = ("flat", "noise", "stripes", "dots", "gradient", "checks")
    photos: tuple[str, ...] = TRAINING_PHOTOS
    photo_share: Share = 0.15
    decals: Whole = 2
    turn: Amount = 0.5
    overlap: Amount = 0.15
    degrade: Share = 0.2


@dataclass(frozen=True)
class Thing:
    """One thing of a picture.

    Attributes:
        look: its attributes.
        kind: number of the look's kind in the picture: things of one kind look the same but for size and turn.
        label: its number in the truth.
    """

    look: Look
    kind: int
    label: int


@dataclass(frozen=True)
class ConceptScene:
    """A picture and its truth.

    Attributes:
        image: uint8 (S, S, 3) RGB.
        labels: uint8 (S, S); 0 background, k the visible pixels of thing k.
        things: those with enough visible pixels; the others are in `labels`, but no phrase should depend on them.
    """

    image: Image
    labels: Image
    things: tuple[Thing, ...]


def _muted(rng: np.random.Generator) -> Colour:
    """Return a colour of surroundings: mostly of little saturation."""
    saturation = float(rng.uniform(0.0, 0.45)) if rng.random() < 0.8 else float(rng.uniform(0.4, 0.9))
    r, g, b = colorsys.hsv_to_rgb(float(rng.random()), saturation, float(rng.uniform(0.2, 0.9)))
    return (255 * r, 255 * g, 255 * b)


def _background(rng: np.random.Generator, settings: PictureSettings) -> Image:
    size = settings.size
    if rng.random() < settings.photo_share:
        names = available_photos(settings.photos)
        if names:
            return photo_texture(rng, names[int(rng.integers(len(names)))], size, size).copy()
    kind = settings.backgrounds[int(rng.integers(len(settings.backgrounds)))]
    low = _muted(rng)
    high = as_colour(np.asarray(low) * float(rng.uniform(0.6, 0.95))) if rng.random() < 0.6 else _muted(rng)
    period, angle = float(rng.uniform(0.06, 0.5)) * size, float(rng.uniform(0, np.pi))
    if kind == "flat":
        return textures.blend(np.zeros((size, size), np.float32), low, high)
    if kind == "noise":
        return textures.noise(rng, size, size, low, high, period)
    if kind == "stripes":
        return textures.stripes(size, size, low, high, period, angle)
    if kind == "dots":
        return textures.dots(size, size, low, high, period, angle)
    if kind == "checks":
        return textures.checks(size, size, low, high, period, angle)
    if kind == "gradient":
        return textures.gradient(size, size, low, high, angle)
    if kind == "planks":
        return textures.planks(rng, size, size, max(4, int(period / 2)), low)
    if kind == "cells":
        return textures.cells(rng, size, size, low, high, max(period, 8.0))
    if kind == "rings":
        return textures.rings(rng, size, size, low, high, max(period, 6.0))
    raise ValueError(f"unknown kind of background {kind!r}")


def _decorate(rng: np.random.Generator, settings: PictureSettings, image: Image) -> None:
    """Lay large muted ovals and posts onto the background, in place: rugs and pillars, which have no name."""
    size = settings.size
    for _ in range(int(rng.integers(0, settings.decals + 1))):
        mask = np.zeros((size, size), np.uint8)
        x, y = (int(v) for v in rng.integers(0, size, 2))
        if rng.random() < 0.5:
            axes = (int(size * rng.uniform(0.26, 0.5)), int(size * rng.uniform(0.26, 0.5)))
            cv2.ellipse(mask, (x, y), axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
        else:
            half = int(size * rng.uniform(0.04, 0.14))
            mask[:, max(x - half, 0) : x + half] = 255
            if rng.random() < 0.5:
                mask = np.ascontiguousarray(mask.T)
        tone = np.asarray(_muted(rng), np.float32)
        alpha = mask[..., None].astype(np.float32) / 255 * float(rng.uniform(0.5, 1.0))
        image[...] = (image + alpha * (tone - image)).astype(np.uint8)


def _draw_kinds(
    rng: np.random.Generator, settings: PictureSettings, mean: NDArray[np.floating]
) -> list[tuple[str, str, str]]:
    """Draw looks (colour, shape, texture) that share colours and shapes with each other."""
    visible = [c for c in COLOURS if np.linalg.norm(np.asarray(middle_of(c)) - mean) > 70]
    kinds: list[tuple[str, str, str]] = []
    count = int(rng.integers(settings.kinds[0], settings.kinds[1] + 1))
    unseen = sorted(pair for pair in HELD_OUT if pair[0] in visible)
    for _ in range(30):
        if len(kinds) == count:
            break
        colour = visible[int(rng.integers(len(visible)))]
        shape = SHAPES[int(rng.integers(len(SHAPES)))]
        texture = "plain" if rng.random() < settings.plain else TEXTURES[int(rng.integers(len(TEXTURES)))]
        if kinds and rng.random() < 0.65:  # a distractor: like another one but for something
            other = kinds[int(rng.integers(len(kinds)))]
            keep = rng.random()
            if keep < 0.45:
                colour = other[0]
            elif keep < 0.9:
                shape = other[1]
            else:
                colour, shape = other[:2]
        if rng.random() < settings.unseen and unseen:
            colour, shape = unseen[int(rng.integers(len(unseen)))]
        elif (colour, shape) in HELD_OUT and settings.unseen == 0:
            continue
        if (colour, shape, texture) not in kinds:
            kinds.append((colour, shape, texture))
    return kinds


def draw_scene(rng: np.random.Generator, settings: PictureSettings) -> ConceptScene:
    """Draw a picture; the same for the same state of `rng`."""
    size = settings.size
    image = _background(rng, settings)
    _decorate(rng, settings, image)
    kinds = _draw_kinds(rng, settings, image.reshape(-1, 3).mean(0))
    aspect = 1.0 if rng.random() < 0.5 else 0.75  # a wide picture squeezed to a square
    labels = np.zeros((size, size), np.uint8)
    sprites = [make_thing(rng, *kind) for kind in kinds]
    order = [*range(len(kinds)), *rng.integers(0, max(len(kinds), 1), settings.things).tolist()] if kinds else []
    count = int(rng.integers(len(kinds), settings.things + 1))
    placed: list[tuple[float, float, float]] = []
    things: list[Thing] = []
    full: list[int] = []
    for k in order[:count]:
        colour, shape, texture = kinds[k]
        big = ("small", "medium", "large")[int(rng.choice(3, p=(0.3, 0.45, 0.25)))]
        radius = settings.zoom * float(rng.uniform(*_RADII[big]))
        place = _free_place(rng, settings, placed, radius, aspect)
        if place is None:
            continue
        placed.append((*place, radius))
        angle = float(rng.uniform(-np.pi, np.pi) if shape in ("ring", "circle") else rng.uniform(-1, 1) * settings.turn)
        label = len(things) + 1
        matrix = similarity(sprites[k], (0.0, 0.0), radius * size / FILL, angle)
        matrix[0] *= aspect
        matrix[:, 2] += (place[0] * size, place[1] * size)
        alone = np.zeros_like(labels)
        paste(image, alone, sprites[k], matrix, 1)
        labels[alone > 0] = label
        things.append(Thing(Look(colour, shape, texture, big), k, label))
        full.append(int(alone.sum()))
    _degrade(rng, settings, image)
    seen = np.bincount(labels.reshape(-1), minlength=len(things) + 1)[1:]
    kept = tuple(t for t, now, whole in zip(things, seen, full, strict=True) if now >= max(0.5 * whole, 25.0))
    for thing in things:
        if thing not in kept:
            labels[labels == thing.label] = 255
    return ConceptScene(image, labels, kept)


def _free_place(
    rng: np.random.Generator,
    settings: PictureSettings,
    placed: list[tuple[float, float, float]],
    radius: float,
    aspect: float,
) -> tuple[float, float] | None:
    """Find a centre (shares of the side) where a thing covers little of the others."""
    for _ in range(12):
        x, y = rng.uniform(0.05, 0.95, 2)
        clear = ((1 - settings.overlap) * (radius + r) for _, _, r in placed)
        if all(np.hypot((x - px) / aspect, y - py) > c for (px, py, _), c in zip(placed, clear, strict=True)):
            return float(x), float(y)
    return None


def _degrade(rng: np.random.Generator, settings: PictureSettings, image: Image) -> None:
    """Change light, blur, add noise, in place."""
    if rng.random() < settings.degrade:
        cv2.convertScaleAbs(image, dst=image, alpha=float(rng.uniform(0.75, 1.15)))
    if rng.random() < settings.degrade:
        image[...] = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.0)))
    if rng.random() < settings.degrade:
        noise = rng.normal(0, float(rng.uniform(2, 8)), image.shape)
        image[...] = (image + noise).clip(0, 255).astype(np.uint8)
