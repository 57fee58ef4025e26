"""Fit an upright cylinder, an upright box and a sphere to what a camera sees of an object.

All fits share one idea. The outline of the mask says in which directions the object begins and ends, exactly to a
pixel, and the distances say how far away its visible surface is. Together they give the hidden part, too: a box whose
corner is seen has both side lengths, a round thing its radius. Noise of a depth camera goes along the rays, so
distances are compared along them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.localization.footprint import Face, fit_faces
from sam_core.localization.quantiles import quantile
from sam_core.localization.view import LevelView

__all__ = ["Fit", "fit_box", "fit_cylinder", "fit_plan", "fit_sphere"]

Doubles: TypeAlias = NDArray[np.float64]
_BOTTOM, _FAR = 0.1, 0.95  # quantiles over the outline: a tenth of it lies along the lowest edge
_TOP = 0.985  # quantile over the points
_GRAZING = 0.25  # of the width


@dataclass(frozen=True)
class Fit:
    """A shape in the frame of a `LevelView`.

    Attributes:
        shape: "box", "cylinder" or "sphere".
        centre: (3,) m.
        yaw: Of its x axis, rad.
        size: (3,) along its own axes, m.
        error: Root mean square of the difference between predicted and measured distance, m.
        yaw_deviation: Standard deviation of the yaw, rad.
        unseen: Length along the line of sight that was assumed because no surface shows it, m.
    """

    shape: str
    centre: Doubles
    yaw: float
    size: Doubles
    error: float
    yaw_deviation: float = math.pi / 2
    unseen: float = 0.0


def fit_cylinder(view: LevelView, side: NDArray[np.bool_]) -> Fit:
    """Fit an upright cylinder; `side` says which cells are below the top face."""
    half = min(view.half_width, 1.4)
    middle, sine = view.bisector, math.sin(half)
    flat = view.flat
    unit = _circle(view.azimuths - middle, sine)
    distance = _scale(flat[side], unit[side], view.weights[side])
    low, high, top = _heights(view, distance * _circle(view.outline_azimuths - middle, sine))
    radius = distance * sine
    centre = np.array([distance * math.cos(middle), distance * math.sin(middle), (low + high) / 2])
    error = _error(view, distance * unit, top)
    return Fit("cylinder", centre, 0.0, np.array([2 * radius, 2 * radius, high - low]), error)


def fit_sphere(view: LevelView, half_pixel: float) -> Fit | None:
    """Fit a sphere; None where the outline is no circle."""
    count = len(view.outline_azimuths)
    azimuth, elevation = float(view.outline_azimuths.sum()) / count, float(view.outline_elevations.sum()) / count
    u = (view.outline_azimuths - azimuth) * math.cos(elevation)
    v = view.outline_elevations - elevation
    x, y, radius = _fit_circle(u, v)
    miss = np.hypot(u - x, v - y) - radius
    if radius > 1.2 or math.sqrt(miss @ miss / count) > 0.04 * radius + half_pixel:
        return None
    azimuth, elevation, sine = azimuth + x / math.cos(elevation), elevation + y, math.sin(radius + half_pixel)
    towards = _direction(azimuth, elevation)
    cosine = np.minimum(towards @ view.directions, 1.0)
    unit = cosine - np.sqrt(np.maximum(sine**2 - (1 - cosine**2), 0))
    distance = _scale(view.ranges, unit, view.weights)
    error = _deviation(view, distance * unit)
    return Fit("sphere", distance * towards, 0.0, np.full(3, 2 * distance * sine), error)


def fit_box(view: LevelView, side: NDArray[np.bool_]) -> Fit | None:
    """Fit an upright box by its one or two visible sides; None where they make no box."""
    faces = fit_faces(view, side)
    if not faces:
        return None
    sides = _range_to(faces, view.azimuths)
    outline_sides = _range_to(faces, view.outline_azimuths)
    low, high, top = _heights(view, outline_sides)
    error = _error(view, sides, top)
    left, right = (np.array([math.cos(bound), math.sin(bound)]) for bound in view.bounds)
    first, last = faces[0], faces[-1]
    along = np.array([-first.normal[1], first.normal[0]])  # to the left of the first face's normal
    if len(faces) == 1:
        ends = sorted((float(first.meet(left) @ along), float(first.meet(right) @ along)))
        behind = _behind(view, outline_sides, top, first.normal)
        unseen = 0.0
        if behind is None:
            behind = first.distance + min(ends[1] - ends[0], high - low)  # nothing shows it
            unseen = behind - first.distance
        return replace(_box(first.normal, (first.distance, behind), (ends[0], ends[1]), (low, high)), error=error,
                       yaw_deviation=first.deviation, unseen=unseen)  # fmt: skip
    # Each face ends where the other begins, and where the outline does. Where the top is seen less
    # flat than a face, its far edge is more certain than the face's end.
    far, beside = float(last.meet(right) @ first.normal), float(first.meet(left) @ last.normal)
    if top is not None and last.slant(right) < _slant_of(view, top):
        far = _first(_behind(view, outline_sides, top, first.normal), far)
    if top is not None and first.slant(left) < _slant_of(view, top):
        beside = _first(_behind(view, outline_sides, top, last.normal), beside)
    if far <= first.distance or beside <= last.distance:
        return None
    across = (last.distance, beside) if last.normal @ along > 0 else (-beside, -last.distance)
    box = _box(first.normal, (first.distance, far), across, (low, high))
    return replace(box, error=error, yaw_deviation=first.deviation)


def fit_plan(view: LevelView) -> Fit:
    """Fit a box to the outline of a top face: of what is flat, or seen from above."""
    low, middle, high = (view.height_below(share) for share in (0.02, 0.5, 0.98))
    azimuths, elevations = view.outline_azimuths, view.outline_elevations
    plane = min(middle, -1e-3)
    flat = np.where(elevations < -0.02, plane / np.tan(np.minimum(elevations, -0.02)), np.inf)
    flat = np.minimum(flat, 1.5 * float(view.flat.max()))
    feet = np.stack((flat * np.cos(azimuths), flat * np.sin(azimuths)), axis=1)
    (x, y), (width, depth), angle = cv2.minAreaRect(feet.astype(np.float32))
    size = np.array([width, depth, max(high - low, 1e-3)])
    error = math.sqrt(float(view.weights @ (view.z - middle) ** 2) / view.total)
    return Fit("box", np.array([x, y, (low + high) / 2]), math.radians(angle), size, error, yaw_deviation=0.1)


def _fit_circle(u: Doubles, v: Doubles) -> tuple[float, float, float]:
    """Return centre and radius of a circle through points (M,) about their mean, by Kasa's fit (1976)."""
    squares = u * u + v * v
    uu, uv, vv = float(u @ u), float(u @ v), float(v @ v)
    right, up = float(u @ squares) / 2, float(v @ squares) / 2
    determinant = max(uu * vv - uv * uv, 1e-300)
    x, y = (vv * right - uv * up) / determinant, (uu * up - uv * right) / determinant
    return x, y, math.sqrt((uu + vv) / len(u) + x * x + y * y)


def _direction(azimuth: float, elevation: float) -> Doubles:
    flat = math.cos(elevation)
    return np.array((flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)))


def _circle(angle: Doubles, sine: float) -> Doubles:
    """Return the distance to a circle's near side along rays at `angle` from its middle, which is at distance 1."""
    return np.cos(angle) - np.sqrt(np.maximum(sine**2 - np.sin(angle) ** 2, 0))


def _scale(measured: Doubles, unit: Doubles, weights: Doubles) -> float:
    """Return the factor by which `unit` explains what was measured best (weighted least squares)."""
    return float(weights @ (measured * unit)) / max(float(weights @ (unit * unit)), 1e-12)


def _range_to(faces: list[Face], azimuths: Doubles) -> Doubles:
    """Return the horizontal distance to the faces of a convex shape: the farther of their lines."""
    cosines, sines = np.cos(azimuths), np.sin(azimuths)
    slants = [face.normal[0] * cosines + face.normal[1] * sines for face in faces]
    lines = [face.distance / np.maximum(slant, 1e-3) for face, slant in zip(faces, slants, strict=True)]
    return lines[0] if len(lines) == 1 else np.maximum(*lines)


def _heights(view: LevelView, outline_sides: Doubles) -> tuple[float, float, float | None]:
    """Return lowest and highest z of an upright shape, and the z of its top face where that is seen.

    Args:
        view: What is seen.
        outline_sides: (M,) horizontal distance to the shape's side at each point of the outline.
    """
    slopes = view.outline_slopes
    low = quantile(outline_sides * slopes, _BOTTOM)
    highest = view.height_below(_TOP)
    if highest < 0:  # the camera is higher: it sees the top face, and no point is above that
        high = max(highest, low + 1e-3)
        return low, high, high
    high = quantile(outline_sides * slopes, 1 - _BOTTOM)
    return low, max(high, low + 1e-3), None


def _error(view: LevelView, sides: Doubles, top: float | None) -> float:
    """Return the error of an upright shape's predicted distances, m: a ray enters where it has passed side and top."""
    predicted = sides / view.cosines
    if top is not None:
        predicted = np.maximum(predicted, top / np.minimum(view.sines, -1e-3))
    return _deviation(view, predicted)


def _deviation(view: LevelView, predicted: Doubles) -> float:
    """Return the root mean square of the difference to predicted distances (C,), m."""
    return math.sqrt(float(view.weights @ (view.ranges - predicted) ** 2) / view.total)


def _behind(view: LevelView, outline_sides: Doubles, top: float | None, normal: Doubles) -> float | None:
    """Return how far the top face reaches along a direction, by where the outline's rays meet it; None if unseen.

    Seen too flat, where a pixel is a large part of the object's width, it counts as unseen.
    """
    if top is None:
        return None
    distance = view.mean_flat
    uncertain = distance**2 * 2 * view.half_pixel / max(abs(top), 1e-9)  # m, what a pixel means on the top
    if uncertain > _GRAZING * 2 * distance * math.sin(min(view.half_width, 1.5)):
        return None
    flat = top / np.minimum(view.outline_slopes, -1e-3)
    on_top = flat > outline_sides
    if np.count_nonzero(on_top) < 3:
        return None
    azimuths = view.outline_azimuths[on_top]
    return quantile(flat[on_top] * (normal[0] * np.cos(azimuths) + normal[1] * np.sin(azimuths)), _FAR)


def _slant_of(view: LevelView, top: float) -> float:
    """Return the sine of the angle at which a ray meets the plane of the top: a face seen flatter is less certain."""
    return abs(top) / math.hypot(top, view.mean_flat)


def _first(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _box(normal: Doubles, ahead: tuple[float, float], across: tuple[float, float], heights: tuple[float, float]) -> Fit:
    """Return a box by its extents along a horizontal direction, to the left of it, and along z."""
    left = np.array([-normal[1], normal[0]])
    middle = normal * (ahead[0] + ahead[1]) / 2 + left * (across[0] + across[1]) / 2
    size = np.array([ahead[1] - ahead[0], across[1] - across[0], heights[1] - heights[0]])
    centre = np.array([middle[0], middle[1], (heights[0] + heights[1]) / 2])
    return Fit("box", centre, math.atan2(normal[1], normal[0]), size, 0.0)
