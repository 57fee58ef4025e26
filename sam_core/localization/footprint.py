"""The visible sides of an upright box, from above: one line, or two at a right angle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam_core.localization.view import LevelView

__all__ = ["Face", "fit_faces"]

Doubles: TypeAlias = NDArray[np.float64]
_COLUMNS = 40
_WORTH = 0.8  # two sides must leave less than this share of the squared error that one leaves


@dataclass(frozen=True)
class Face:
    """A vertical face as a line in the plane: the points p with normal . p = distance.

    Attributes:
        normal: Unit vector (2,), away from the camera.
        distance: From the camera, m; positive.
        deviation: Standard deviation of the normal's direction, rad.
    """

    normal: Doubles
    distance: float
    deviation: float

    def slant(self, direction: Doubles) -> float:
        """Return the sine of the angle between a ray and the face; 0 where it runs along the face or away from it."""
        return max(float(self.normal @ direction), 0.0)

    def meet(self, direction: Doubles) -> Doubles:
        """Return where a ray from the camera meets the line."""
        return direction * (self.distance / max(self.slant(direction), 0.05))


def fit_faces(view: LevelView, side: NDArray[np.bool_]) -> list[Face]:
    """Fit one or two faces by least squares over all places of the edge between them.

    The cells of a column are averaged first, which gives a profile as a laser scanner sees it. For lines at a right
    angle, the scatter of the second part is turned by 90 degrees and added to that of the first. The smallest
    eigenvalue is the squared error, for each place of the edge. Sums over parts come from cumulative sums.

    Returns:
        The faces in the order of their azimuth; empty where fewer than three columns have points.
    """
    columns, weights = _profile(view, side)
    if len(weights) < 3:
        return []
    first = np.cumsum(_moments(columns, weights), axis=1)
    second = first[:, -1:] - first
    scatter, rest = _scatter(first), _scatter(second)
    both = np.array((scatter[0] + rest[2], scatter[1] - rest[1], scatter[2] + rest[0]))
    half, spread = (both[0] + both[2]) / 2, np.hypot((both[0] - both[2]) / 2, both[1])
    error = half - spread
    alone = float(error[-1])
    inner = error[1:-2]  # at least two columns a face
    if len(inner):
        edge = int(inner.argmin()) + 1
        if error[edge] < _WORTH * alone:
            normal = _normal(both[:, edge])
            deviation = _deviation(float(error[edge]), float(half[edge] + spread[edge]), len(weights))
            faces = [
                _face(first[:, edge], normal, deviation),
                _face(second[:, edge], np.array([-normal[1], normal[0]]), deviation),
            ]
            if _is_convex(faces, view.bounds):
                return faces
    return [_face(first[:, -1], _normal(both[:, -1]), _deviation(alone, float(half[-1] + spread[-1]), len(weights)))]


def _profile(view: LevelView, side: NDArray[np.bool_]) -> tuple[Doubles, Doubles]:
    """Return mean points (2, K) of the columns that have some, from the lowest azimuth on, and their weights (K,)."""
    azimuths, weights = view.azimuths[side], view.weights[side]
    if not len(azimuths):
        return np.zeros((2, 0)), np.zeros(0)
    flat = view.flat[side]
    low, high = azimuths.min(), azimuths.max()
    column = np.minimum(((azimuths - low) / max(high - low, 1e-9) * _COLUMNS).astype(int), _COLUMNS - 1)
    total = np.bincount(column, weights, _COLUMNS)
    filled = total > 0.1 * weights.sum() / _COLUMNS
    azimuth, distance = (np.bincount(column, weights * part, _COLUMNS)[filled] for part in (azimuths, flat))
    total = total[filled]
    azimuth, distance = azimuth / total, distance / total
    return np.array((distance * np.cos(azimuth), distance * np.sin(azimuth))), total


def _moments(points: Doubles, weights: Doubles) -> Doubles:
    """Return weight, first and second moments (6, K) of points (2, K)."""
    x, y = points
    wx, wy = weights * x, weights * y
    return np.array((weights, wx, wy, wx * x, wx * y, wy * y))


def _scatter(moments: Doubles) -> Doubles:
    """Return the scatter about the mean as (xx, xy, yy), (3, K), of moments (6, K); zero where there is nothing."""
    weight, wx, wy, xx, xy, yy = moments
    weight = np.maximum(weight, 1e-12)
    x, y = wx / weight, wy / weight
    return np.array((xx - wx * x, xy - wx * y, yy - wy * y))


def _normal(scatter: Doubles) -> Doubles:
    """Return the direction of least scatter."""
    angle = 0.5 * math.atan2(2 * scatter[1], scatter[0] - scatter[2]) + math.pi / 2
    return np.array([math.cos(angle), math.sin(angle)])


def _face(moments: Doubles, normal: Doubles, deviation: float) -> Face:
    distance = float(normal @ moments[1:3]) / float(moments[0])
    return Face(normal, distance, deviation) if distance > 0 else Face(-normal, -distance, deviation)


def _deviation(least: float, most: float, count: int) -> float:
    """Return the standard deviation of a line's direction: its error across over its length, for `count` columns."""
    return math.sqrt(max(least, 1e-12) / max(most, 1e-12) / max(count - 2, 1))


def _is_convex(faces: list[Face], bounds: tuple[float, float]) -> bool:
    """Say whether two faces meet in an edge that points to the camera, between the bounds."""
    one, two = faces
    corner = one.distance * one.normal + two.distance * two.normal  # the normals are at a right angle
    azimuth = math.atan2(corner[1], corner[0])
    if not bounds[0] < azimuth < bounds[1]:
        return False
    left, right = (np.array([math.cos(bound), math.sin(bound)]) for bound in bounds)
    # Behind the other face at the outline, so that each one hides nothing of the other.
    return bool(
        two.normal @ left * one.distance >= one.normal @ left * two.distance
        and one.normal @ right * two.distance >= two.normal @ right * one.distance
    )
