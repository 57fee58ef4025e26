"""From a mask and a depth image to a box: clean the points, fit shapes, choose one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam_core.localization.camera import Camera
from sam_core.localization.cleaning import MaskDepth, clean
from sam_core.localization.location import Location, rotated
from sam_core.localization.quantiles import quantile
from sam_core.localization.settings import LocalizerSettings
from sam_core.localization.shapes import Fit, fit_box, fit_cylinder, fit_plan, fit_sphere
from sam_core.localization.view import LevelView
from sam_core.streaming.cropped_mask import CroppedMask

__all__ = ["Finding", "Miss", "locate"]

Doubles: TypeAlias = NDArray[np.float64]
_IDENTITY = np.eye(3)
_IMAGE_UP = np.array([0.0, -1.0, 0.0])  # stands for up in the camera's frame where nobody knows it
_STEEP = 1.0  # rad below the horizon from which on an object is seen from above
_LEAST_SIDE = 0.12  # share of the points below the top face for the sides to tell the shape
_ROUND = 1.15  # a round shape has fewer free numbers, so it may be this much worse than a box
_CORRELATED = 9.0  # pixels of a depth camera that err together
_COMMON = 0.3  # share of the noise that all pixels of an object have in common, as measured in benchmarks.depth


class Miss(Enum):
    """Why an object has no box."""

    NO_DEPTH = "its mask holds no depth within range"
    TOO_FEW_POINTS = "too few points are left of it"


@dataclass(frozen=True)
class Finding:
    """What was found of a mask.

    Attributes:
        depth: Its points.
        points: (N, 3) float32 in the camera's frame, m.
        location: Its box in the camera's frame; None where there is none.
        miss: Why there is none; None where there is one.
        reason: The same as a sentence; empty where there is a box.
    """

    depth: MaskDepth
    points: NDArray[np.float32]
    location: Location | None
    miss: Miss | None = None
    reason: str = ""


def locate(
    mask: CroppedMask,
    depth: NDArray[np.float32],
    camera: Camera,
    settings: LocalizerSettings,
    up: Doubles | None = None,
) -> Finding:
    """Find an object's box.

    Args:
        mask: Not empty.
        depth: (H, W) float32 depth along the optical axis in m; 0, NaN and inf where there is none.
        camera: Of mask and depth.
        settings: The limits.
        up: Unit vector (3,) that points up, in the camera's frame; None where it is not known.
    """
    cleaned = clean(mask, depth, max(camera.focal), settings)
    count = len(cleaned.depths)
    points = camera.rays_at(cleaned.columns, cleaned.rows) * cleaned.depths[:, None]
    if count < settings.min_points:
        if cleaned.depth_share == 0:
            return Finding(cleaned, points, None, Miss.NO_DEPTH, f"{Miss.NO_DEPTH.value}.")
        reason = (
            f"{count} points are left of its mask, fewer than min_points ({settings.min_points}); "
            f"{cleaned.depth_share:.0%} of the mask's pixels have depth."
        )
        return Finding(cleaned, points, None, Miss.TOO_FEW_POINTS, reason)
    rays = camera.rays_at(cleaned.outline[:, 0], cleaned.outline[:, 1])
    half_pixel = 0.5 / max(camera.focal)
    upright = settings.upright and up is not None
    view = LevelView.of(points, rays, up if upright and up is not None else _IMAGE_UP, half_pixel)
    fit = _upright(view, half_pixel, settings) if upright else fit_sphere(view, half_pixel)
    if not upright and (fit is None or fit.error > 3 * settings.depth_noise * view.mean_range**2 + 0.002):
        location = _free(points, cleaned, settings)
    else:
        assert fit is not None
        location = Location(
            fit.shape,
            view.rotation @ fit.centre,
            rotated(view.rotation, fit.yaw),
            np.maximum(fit.size, 1e-3),
            _covariance(fit, view.rotation, count, settings, half_pixel),
            upright,
            count,
            cleaned.depth_share,
            cleaned.occluded_share,
            cleaned.touches_border,
        )
    return Finding(cleaned, points, location.aligned(None))


def _upright(view: LevelView, half_pixel: float, settings: LocalizerSettings) -> Fit:
    """Return the upright shape that explains the view best."""
    z = view.z
    noise = settings.depth_noise * view.mean_range**2
    highest = view.height_below(0.97)
    elevation = float(view.elevations @ view.weights) / view.total
    side = np.ones(len(z), bool)
    if highest < 0:  # the camera is higher, so a top face can be seen
        side = z < highest - (0.1 * (highest - float(z.min())) + 2 * noise * abs(math.sin(elevation)))
    if elevation < -_STEEP or view.weights[side].sum() < _LEAST_SIDE * view.total:
        plan = fit_plan(view)
        ball = fit_sphere(view, half_pixel)
        return ball if ball is not None and ball.error < plan.error and ball.error < 2 * noise + 0.002 else plan
    box = fit_box(view, side)
    cylinder = fit_cylinder(view, side)
    best = cylinder if box is None or cylinder.error < _ROUND * box.error else box
    ball = fit_sphere(view, half_pixel)
    return ball if ball is not None and ball.error < best.error else best


def _free(points: NDArray[np.float32], cleaned: MaskDepth, settings: LocalizerSettings) -> Location:
    """Return the box along the principal axes of the visible points; it encloses what is seen, and no more."""
    centre = points.mean(axis=0).astype(float)
    centred = points - centre
    scatter = (centred.T @ centred / len(points)).astype(float)
    _, axes = np.linalg.eigh(scatter)
    axes = axes[:, ::-1]  # the longest first
    axes[:, 2] = np.cross(axes[:, 0], axes[:, 1])
    along = (centred @ axes).T
    low, high = (np.array([quantile(part, share) for part in along]) for share in (0.005, 0.995))
    variance = (settings.depth_noise * centre[2] ** 2) ** 2 * _CORRELATED / len(points)
    hidden = float((high - low).min()) / 2
    towards = centre / np.linalg.norm(centre)
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = variance * np.eye(3) + hidden**2 * np.outer(towards, towards)
    covariance[3:, 3:] = np.eye(3) * 0.1
    return Location(
        "box", centre + axes @ (low + high) / 2, axes, np.maximum(high - low, 1e-3), covariance, False, len(points),
        cleaned.depth_share, cleaned.occluded_share, cleaned.touches_border,
    )  # fmt: skip


def _covariance(fit: Fit, level: Doubles, count: int, settings: LocalizerSettings, half_pixel: float) -> Doubles:
    """Return the covariance (6, 6) of an upright shape's centre and rotation in the camera's frame.

    Along the line of sight: the camera's noise, averaged over the points that err independently, the fit's error, and
    an assumed depth as if it were evenly distributed from 0 to twice its length. Across it: half a pixel.
    """
    distance = math.sqrt(fit.centre @ fit.centre)
    towards = fit.centre / distance
    noise = settings.depth_noise * distance**2
    along = noise**2 * (_CORRELATED / count + _COMMON**2) + (fit.error / 4) ** 2 + fit.unseen**2 / 12
    across = (half_pixel * distance) ** 2 + (_COMMON / 2 * noise) ** 2
    yaw = (math.pi / 2) ** 2 if fit.shape != "box" else fit.yaw_deviation**2
    tilt = (math.pi / 2) ** 2 if fit.shape == "sphere" else math.radians(1.0) ** 2
    towards = level @ towards
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = across * _IDENTITY + (along - across) * np.outer(towards, towards)
    covariance[3:, 3:] = (level * (tilt, tilt, yaw)) @ level.T
    return covariance
