"""Photographs that ship inside the wheel of scikit-image, as textures (a training-only dependency, no download)."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import cv2
import numpy as np

from sam_core.synthetic.sprites import Image

__all__ = ["HELD_OUT_PHOTOS", "TRAINING_PHOTOS", "available_photos", "photo_texture"]

TRAINING_PHOTOS: tuple[str, ...] = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "coffee.png", "coins.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "page.png", "retina.jpg",
)  # fmt: skip
HELD_OUT_PHOTOS: tuple[str, ...] = ("chelsea.png", "grass.png", "rocket.jpg", "text.png")


def _folder() -> Path | None:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "data"


def available_photos(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of ``names`` that are installed; empty without scikit-image."""
    folder = _folder()
    return tuple(n for n in names if folder is not None and (folder / n).is_file())


@functools.lru_cache(maxsize=32)
def _load(name: str) -> Image:
    folder = _folder()
    picture = None if folder is None else cv2.imread(str(folder / name), cv2.IMREAD_COLOR)
    if picture is None:
        raise FileNotFoundError(f"photo {name} is not installed: pip install scikit-image")
    scale = 512 / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def photo_texture(rng: np.random.Generator, name: str, height: int, width: int) -> Image:
    """Return a random part of a photo, uint8 (height, width, 3): cropped, flipped, turned and with shifted colours."""
    picture = _load(name)
    h, w = picture.shape[:2]
    side = float(rng.uniform(0.35, 1.0)) * min(h, w)
    ch, cw = max(int(side * min(1.0, height / width)), 8), max(int(side * min(1.0, width / height)), 8)
    y, x = int(rng.integers(0, h - ch + 1)), int(rng.integers(0, w - cw + 1))
    part = cv2.resize(picture[y : y + ch, x : x + cw], (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        part = part[:, ::-1]
    if rng.random() < 0.5:
        part = part[..., rng.permutation(3)]
    gain = rng.uniform(0.6, 1.4, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(0.7, 1.3))
    return np.asarray((part * gain).clip(0, 255), np.uint8)
