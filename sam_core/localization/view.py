"""The points of one object as directions and distances in a level frame, averaged over small cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["LevelView", "level_rotation"]

Doubles: TypeAlias = NDArray[np.float64]
_AZIMUTHS, _ELEVATIONS = 48, 24  # cells an object is divided into


def level_rotation(up: Doubles) -> Doubles:
    """Return the rotation (3, 3) from the camera's optical frame to a level one, whose x is ahead and z up.

    Args:
        up: Unit vector (3,) that points up, in the camera's optical frame.
    """
    ahead = np.array([0.0, 0.0, 1.0])
    if abs(up @ ahead) > 0.999:  # it looks straight up or down
        ahead = np.array([0.0, -1.0, 0.0])
    x = ahead - (up @ ahead) * up
    x /= np.linalg.norm(x)
    return np.stack((x, np.cross(up, x), up))


@dataclass(frozen=True)
class LevelView:
    """What the camera sees of an object, in a level frame about the camera.

    The object is divided into cells of azimuth and elevation, and the distances within a cell are averaged: that takes
    away most of the noise and makes all that follows quick.

    Attributes:
        ahead: Azimuth that the object's middle has in the level frame, rad; azimuths here are relative to it.
        azimuths: (C,) of the cells with points, rad.
        elevations: (C,) likewise.
        ranges: (C,) mean distance from the camera, m.
        weights: (C,) number of points.
        outline: (M, 2) azimuth and elevation of the outline, rad.
        bounds: (lowest, highest) azimuth of the outline, by half a pixel beyond the outermost pixels.
        half_pixel: Angle of half a pixel, rad.
    """

    ahead: float
    azimuths: Doubles
    elevations: Doubles
    ranges: Doubles
    weights: Doubles
    outline: Doubles
    bounds: tuple[float, float]
    half_pixel: float

    @classmethod
    def of(cls, points: Doubles, outline: Doubles, half_pixel: float) -> LevelView:
        """Divide points into cells.

        Args:
            points: (N, 3) in the level frame, m.
            outline: (M, 3) directions of the outline in the level frame, any length.
            half_pixel: Angle of half a pixel, rad.
        """
        middle = points.mean(axis=0)
        ahead = float(np.arctan2(middle[1], middle[0]))
        turn = np.array([[np.cos(ahead), np.sin(ahead)], [-np.sin(ahead), np.cos(ahead)]])
        azimuths, elevations = _angles(points, turn)
        edge = np.stack(_angles(outline, turn), axis=1)
        ranges = np.sqrt((points**2).sum(axis=1))
        column = _cells(azimuths, _AZIMUTHS)
        row = _cells(elevations, _ELEVATIONS)
        cell = column * _ELEVATIONS + row
        size = _AZIMUTHS * _ELEVATIONS
        weights = np.bincount(cell, minlength=size).astype(float)
        filled = np.flatnonzero(weights)
        weights = weights[filled]
        sums = np.stack([np.bincount(cell, part, minlength=size)[filled] for part in (azimuths, elevations, ranges)])
        azimuth, elevation, distance = sums / weights
        bounds = (float(edge[:, 0].min()) - half_pixel, float(edge[:, 0].max()) + half_pixel)
        return cls(ahead, azimuth, elevation, distance, weights, edge, bounds, half_pixel)

    @cached_property
    def cosines(self) -> Doubles:
        """Cosine of the cells' elevations, (C,)."""
        return np.cos(self.elevations)

    @cached_property
    def sines(self) -> Doubles:
        """Sine of the cells' elevations, (C,)."""
        return np.sin(self.elevations)

    @cached_property
    def flat(self) -> Doubles:
        """Horizontal distance of the cells from the camera, (C,) m."""
        return self.ranges * self.cosines

    @cached_property
    def z(self) -> Doubles:
        """Height of the cells above the camera, (C,) m."""
        return self.ranges * self.sines

    @cached_property
    def directions(self) -> Doubles:
        """Unit vectors towards the cells in the level frame turned by `ahead`, (C, 3)."""
        x, y = self.cosines * np.cos(self.azimuths), self.cosines * np.sin(self.azimuths)
        return np.stack((x, y, self.sines), axis=1)

    @cached_property
    def outline_slopes(self) -> Doubles:
        """Tangent of the outline's elevations, (M,)."""
        return np.tan(self.outline[:, 1])

    @cached_property
    def total(self) -> float:
        """Number of points."""
        return float(self.weights.sum())

    @property
    def half_width(self) -> float:
        """Half the angle between the bounds, rad."""
        return (self.bounds[1] - self.bounds[0]) / 2

    @property
    def bisector(self) -> float:
        """Azimuth in the middle between the bounds, rad."""
        return (self.bounds[1] + self.bounds[0]) / 2


def _angles(points: Doubles, turn: Doubles) -> tuple[Doubles, Doubles]:
    x, y = turn @ points[:, :2].T
    return np.arctan2(y, x), np.arctan2(points[:, 2], np.hypot(x, y))


def _cells(values: Doubles, count: int) -> NDArray[np.intp]:
    low, high = float(values.min()), float(values.max())
    step = max((high - low) / count, 1e-9)
    return np.minimum(((values - low) / step).astype(np.intp), count - 1)
