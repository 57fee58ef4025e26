"""What scenes are staged with: paths to move on, outlines and light for sprites, a pillar to hide behind."""

from __future__ import annotations

import numpy as np

from sam_core.synthetic import shapes, textures
from sam_core.synthetic.sprites import Image, Sprite, make_sprite

__all__ = ["MARGIN", "SIDE", "Path", "closed_curve", "cut_out", "pillar", "shaded"]

SIDE = 192  # px, side of a sprite's array; an outline of radius 1 reaches SIDE / 2 - MARGIN from its middle
MARGIN = 20
Path = list[tuple[float, float]]  # positions at equal times over one period; the last leads to the first


def closed_curve(points: Path, phase: float) -> tuple[float, float]:
    """Return a point of the closed uniform Catmull-Rom curve through ``points`` at ``phase`` in 0..1."""
    position = phase * len(points)
    k, t = int(position), position - int(position)
    p0, p1, p2, p3 = (np.asarray(points[(k + i) % len(points)]) for i in (-1, 0, 1, 2))
    value = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    return float(value[0]), float(value[1])


def pillar(rng: np.random.Generator, height: int, width: int) -> Sprite:
    """Return a round stone pillar of a height and width in px."""
    pad = max(8, width // 8)
    across = np.linspace(-1, 1, width, dtype=np.float32)
    round_light = 0.55 + 0.45 * np.sqrt(1 - (0.95 * across) ** 2) + 0.12 * across
    stone = textures.noise(rng, height, width, (118, 122, 132), (168, 172, 178), width / 5).astype(np.float32)
    texture = np.zeros((height, width + 2 * pad, 3), np.uint8)
    texture[:, pad:-pad] = (stone * round_light[None, :, None]).clip(0, 255)
    solid = np.zeros((height, width + 2 * pad), np.uint8)
    solid[:, pad:-pad] = 255
    return make_sprite(texture, solid, shadow=0.35, offset=pad // 2, softness=pad / 3)


def shaded(texture: Image, solid: Image) -> Sprite:
    """Return a sprite lit from the upper left, with a shadow."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    light = 1.12 - 0.45 * ((x + 0.35) ** 2 + (y + 0.35) ** 2)
    lit = (texture.astype(np.float32) * light[..., None]).clip(0, 255).astype(np.uint8)
    return make_sprite(lit, solid, shadow=0.4, offset=7, softness=6.0)


def cut_out(outline: shapes.Outline, radius: float = 1.0, at: tuple[float, float] = (0.0, 0.0)) -> Image:
    """Fill an outline scaled by ``radius`` around ``at`` (both in object radii): coverage 0..255, (SIDE, SIDE)."""
    return shapes.fill(outline * radius + np.asarray(at, np.float32), SIDE, margin=MARGIN)
