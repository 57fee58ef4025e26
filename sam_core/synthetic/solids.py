"""Solids that rays can hit: boxes, upright cylinders and spheres, with exact depth and normals."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pose", "Solid", "corners", "yaw_matrix"]

Floats: TypeAlias = NDArray[np.float32]
Hit: TypeAlias = tuple[Floats, Floats]  # distance along the ray in its own unit, (N,), inf for a miss; normal, (N, 3)
_CORNERS = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))


@dataclass(frozen=True)
class Pose:
    """Where a solid stands: its centre in m, and its rotation about the vertical in rad."""

    centre: tuple[float, float, float]
    yaw: float = 0.0


@dataclass(frozen=True)
class Solid:
    """A solid about the origin, z up.

    Attributes:
        shape: "box", "cylinder" or "sphere".
        size: Of its box along x, y and z in m; a cylinder's x and y are equal, a sphere's all three.
    """

    shape: str
    size: tuple[float, float, float]

    def hit(self, origin: Floats, rays: Floats) -> Hit:
        """Intersect rays (N, 3) that begin at `origin` (3,), in the solid's frame; the nearest hit in front counts."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _HIT[self.shape](np.asarray(self.size, np.float32), origin, rays)


def _hit_box(size: Floats, origin: Floats, rays: Floats) -> Hit:
    """Intersect with the three slabs of a box (Kay and Kajiya, Ray tracing complex scenes, 1986)."""
    inverse = 1 / rays
    one, two = (-size / 2 - origin) * inverse, (size / 2 - origin) * inverse
    near, far = np.minimum(one, two), np.maximum(one, two)
    axis = near.argmax(axis=1)
    distance = near.max(axis=1)
    distance[(distance > far.min(axis=1)) | (distance <= 0)] = np.inf
    normal = np.zeros_like(rays)
    every = np.arange(len(rays))
    normal[every, axis] = -np.sign(rays[every, axis])
    return distance, normal


def _hit_sphere(size: Floats, origin: Floats, rays: Floats) -> Hit:
    distance = _nearest_root((rays**2).sum(axis=1), rays @ origin, float(origin @ origin) - size[0] ** 2 / 4)
    return distance, (origin + rays * _finite(distance)) / (size[0] / 2)


def _hit_cylinder(size: Floats, origin: Floats, rays: Floats) -> Hit:
    flat = rays[:, :2]
    side = _nearest_root((flat**2).sum(axis=1), flat @ origin[:2], float(origin[:2] @ origin[:2]) - size[0] ** 2 / 4)
    side[np.abs(origin[2] + rays[:, 2] * side) > size[2] / 2] = np.inf
    caps = np.sign(origin[2]) * size[2] / 2
    cap = (caps - origin[2]) / rays[:, 2]
    away = ((origin[:2] + flat * cap[:, None]) ** 2).sum(axis=1) > size[0] ** 2 / 4
    cap[away | (cap <= 0) | (np.abs(origin[2]) <= size[2] / 2)] = np.inf
    distance = np.minimum(side, cap)
    normal = (origin + rays * _finite(distance)) / (size[0] / 2)
    normal[:, 2] = 0
    normal[cap < side] = (0, 0, np.sign(caps))
    return distance, normal


def _nearest_root(a: Floats, b: Floats, c: float) -> Floats:
    """Solve a t^2 + 2 b t + c = 0 for the smaller positive t; inf where there is none."""
    root = (-b - np.sqrt(b * b - a * c)) / a
    root[~(root > 0)] = np.inf
    return root


def _finite(distance: Floats) -> Floats:
    return np.where(np.isfinite(distance), distance, 0)[:, None]


_HIT: dict[str, Callable[[Floats, Floats, Floats], Hit]] = {
    "box": _hit_box,
    "cylinder": _hit_cylinder,
    "sphere": _hit_sphere,
}


def yaw_matrix(yaw: float) -> NDArray[np.float64]:
    """Return the rotation (3, 3) about z by `yaw` rad."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def corners(size: tuple[float, float, float], pose: Pose) -> NDArray[np.float64]:
    """Return the corners (8, 3) of a solid's box in the world."""
    return _CORNERS * size @ yaw_matrix(pose.yaw).T + pose.centre
