"""The points of one object as directions and distances in a level frame, averaged over small cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam_core.localization.location import rotated

__all__ = ["LevelView", "level_rotation"]

Doubles: TypeAlias = NDArray[np.float64]
Floats: TypeAlias = NDArray[np.float32]
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
    x /= np.sqrt(x @ x)
    (a, b, c), (d, e, f) = up, x
    return np.array((x, (b * f - c * e, c * d - a * f, a * e - b * d), up))  # the second is up x x


@dataclass(frozen=True)
class LevelView:
    """What the camera sees of an object, in a level frame about the camera that is turned towards the object's middle.

    The object is divided into cells of azimuth and elevation, and the distances within a cell are averaged: that takes
    away most of the noise and makes all that follows quick.

    Attributes:
        rotation: (3, 3) from this frame to the camera's optical one.
        azimuths: (C,) of the cells with points, rad.
        elevations: (C,) likewise.
        ranges: (C,) mean distance from the camera, m.
        weights: (C,) number of points.
        outline_azimuths: (M,) of the outline, rad.
        outline_elevations: (M,) likewise.
        bounds: (lowest, highest) azimuth of the outline, by half a pixel beyond the outermost pixels.
        half_pixel: Angle of half a pixel, rad.
    """

    rotation: Doubles
    azimuths: Doubles
    elevations: Doubles
    ranges: Doubles
    weights: Doubles
    outline_azimuths: Doubles
    outline_elevations: Doubles
    bounds: tuple[float, float]
    half_pixel: float

    @classmethod
    def of(cls, points: Floats, rays: Floats, up: Doubles, half_pixel: float) -> LevelView:
        """Divide points into cells.

        Args:
            points: (N, 3) in the camera's optical frame, m.
            rays: (M, 3) directions of the outline, likewise, of any length.
            up: Unit vector (3,) that points up, likewise.
            half_pixel: Angle of half a pixel, rad.
        """
        level = level_rotation(up)
        x, y, _ = level @ (points.sum(axis=0) / len(points))
        rotation = rotated(level.T, float(np.arctan2(y, x)))
        azimuths, elevations, ranges = _spherical(points, rotation)
        around, above, _ = _spherical(rays.astype(np.float64), rotation)
        cell = _cells(azimuths, _AZIMUTHS) * _ELEVATIONS + _cells(elevations, _ELEVATIONS)
        size = _AZIMUTHS * _ELEVATIONS
        counts = np.bincount(cell, minlength=size)
        filled = np.flatnonzero(counts)
        weights = counts[filled].astype(float)
        azimuth, elevation, distance = (
            np.bincount(cell, part, minlength=size)[filled] / weights for part in (azimuths, elevations, ranges)
        )
        bounds = (float(around.min()) - half_pixel, float(around.max()) + half_pixel)
        return cls(rotation, azimuth, elevation, distance, weights, around, above, bounds, half_pixel)

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
        """Unit vectors towards the cells, (3, C)."""
        x, y = self.cosines * np.cos(self.azimuths), self.cosines * np.sin(self.azimuths)
        return np.array((x, y, self.sines))

    @cached_property
    def outline_slopes(self) -> Doubles:
        """Tangent of the outline's elevations, (M,)."""
        return np.tan(self.outline_elevations)

    @cached_property
    def mean_range(self) -> float:
        """Mean distance of the cells, m."""
        return float(self.ranges.sum()) / len(self.ranges)

    @cached_property
    def mean_flat(self) -> float:
        """Mean horizontal distance of the cells, m."""
        return float(self.flat.sum()) / len(self.flat)

    @cached_property
    def _heights(self) -> tuple[Doubles, Doubles]:
        """Heights of the cells in their order, and the number of points up to each."""
        order = np.argsort(self.z)
        return self.z[order], np.cumsum(self.weights[order])

    def height_below(self, share: float) -> float:
        """Return the height below which about a share (0 to 1) of the points is, m."""
        heights, counts = self._heights
        place = int(np.searchsorted(counts, int(share * self.total), side="right"))
        return float(heights[min(place, len(heights) - 1)])

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


def _spherical(points: NDArray[Any], rotation: Doubles) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return azimuths, elevations and lengths of vectors (N, 3) in the frame that `rotation` leads from; same dtype."""
    x, y, z = rotation.T.astype(points.dtype) @ points.T
    flat = x * x + y * y
    return np.arctan2(y, x), np.arctan2(z, np.sqrt(flat)), np.sqrt(flat + z * z)


def _cells(values: NDArray[Any], count: int) -> NDArray[np.intp]:
    low, high = float(values.min()), float(values.max())
    step = max((high - low) / count, 1e-9)
    return np.minimum(((values - low) / step).astype(np.intp), count - 1)
