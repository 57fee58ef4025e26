"""Which pixels of a mask are points of the object: no mixed edges, no holes, no reflections, no other surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.localization.quantiles import median, quantile
from sam_core.localization.settings import LocalizerSettings
from sam_core.streaming.cropped_mask import CroppedMask

__all__ = ["MaskDepth", "clean"]

Floats: TypeAlias = NDArray[np.float32]

_RING = 2  # px around the mask's box that show what borders on it
_MOST_DEVIATIONS = 5.0  # of the median absolute deviation of the range, scaled to a normal distribution
_NORMAL = 1.4826  # standard deviation over median absolute deviation, of a normal distribution
_LEAST_JUMP = 0.02  # share of the depth by which neighbours differ where a surface ends
_JUMP_OF_NOISE = 8.0  # standard deviations of the noise, likewise
_STEEPEST = 6.0  # slope of a surface along the line of sight, beyond which neighbours are not of one surface
_DEEPEST = 1.5  # times its width: an object is hardly deeper
_JUMP_OF_SLOPE = 4.0  # times what is usual within the mask, so that slanted surfaces hold together
_SMALLEST_PART = 0.05  # of the largest part, for another one at the same depth to belong to the object
_NEAREST, _FARTHEST = 1e-6, np.float32(1e6)  # m, stand for "no depth" in minima and maxima


@dataclass(frozen=True)
class MaskDepth:
    """The depth of one mask.

    Attributes:
        rows: (N,) image rows of the trusted points.
        columns: (N,) their columns.
        depths: (N,) float32, along the optical axis in m.
        outline: (M, 2) int, (column, row) of the outline of the mask where it belongs to these points.
        depth_share: Share of the mask's pixels with depth, 0 to 1.
        occluded_share: Share of the outline along which something nearer borders on it, 0 to 1.
        touches_border: Whether the mask touches the image's border.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    depths: Floats
    outline: NDArray[np.int32]
    depth_share: float
    occluded_share: float
    touches_border: bool


def clean(mask: CroppedMask, depth: Floats, focal: float, settings: LocalizerSettings) -> MaskDepth:
    """Return the points of a mask that belong to the object.

    Edge pixels mix foreground and background, so the mask is eroded. Of the rest, pixels beside a jump in depth (flying
    pixels), and pixels far from the median (reflections) are left out. The largest part that hangs together in space is
    the object; others at the same depth belong to it, since a thing in front may divide it.

    Args:
        mask: Not empty.
        depth: (H, W) float32 depth along the optical axis in m; 0, NaN and inf where there is none.
        focal: Focal length in px.
        settings: The limits.
    """
    height, width = depth.shape
    x_min, y_min, x_max, y_max = mask.box
    left, top = max(0, x_min - _RING), max(0, y_min - _RING)
    z = depth[top : min(height, y_max + _RING), left : min(width, x_max + _RING)]
    inside = np.zeros(z.shape, np.uint8)
    inside[y_min - top : y_max - top, x_min - left : x_max - left] = mask.pixels
    valid = (z > settings.min_range) & (z < settings.max_range)  # false for NaN
    area = int(np.count_nonzero(inside))
    with_depth = valid & (inside > 0)
    depth_share = np.count_nonzero(with_depth) / max(area, 1)

    band = int(np.clip(round(settings.erosion * math.sqrt(area)), 1, settings.max_erosion))
    core = cv2.erode(inside, _square(band), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    near = np.where(valid, z, _FARTHEST)
    jumps = _jumps(near, np.where(valid, z, np.float32(_NEAREST)))
    trusted = (core > 0) & valid
    if not trusted.any():
        trusted = with_depth
    trusted = _without_outliers(z, jumps, trusted, area, focal, settings)
    part, count = _largest_part(trusted, z)
    own = cv2.bitwise_and(cv2.dilate(part, _square(band + 2)), inside)
    rows, columns = np.nonzero(part)
    step = max(1, math.ceil(len(rows) / settings.max_points))
    rows, columns = rows[::step], columns[::step]
    outline, occluded = _outline(own, near, band, settings) if count else (np.zeros((0, 2), np.int32), 0.0)
    return MaskDepth(
        rows=rows + top,
        columns=columns + left,
        depths=z[rows, columns],
        outline=outline + np.array((left, top), np.int32),
        depth_share=depth_share,
        occluded_share=occluded,
        touches_border=x_min == 0 or y_min == 0 or x_max == width or y_max == height,
    )


def _square(radius: int) -> NDArray[np.uint8]:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def _jumps(near: Floats, far: Floats) -> tuple[Floats, Floats]:
    """Return how depth differs within 3 x 3 pixels, m: the difference, and what is left of it on a plane."""
    high, low = cv2.dilate(far, _square(1)), cv2.erode(near, _square(1))
    return np.maximum(high - low, 0), np.abs(high + low - 2 * near)


def _without_outliers(
    z: Floats,
    jumps: tuple[Floats, Floats],
    trusted: NDArray[np.bool_],
    area: int,
    focal: float,
    settings: LocalizerSettings,
) -> NDArray[np.bool_]:
    """Leave out pixels beside jumps, and those whose range is far from the median.

    Far is never less than the object's own width: a box that is seen from the front has
    most of its points at one range, and its top reaches away from that.
    """
    if not trusted.any():
        return trusted
    ranges = z[trusted]
    middle = median(ranges)
    spread = _NORMAL * median(np.abs(ranges - middle))
    noise = settings.depth_noise * middle**2
    steps, bends = jumps
    least = max(_LEAST_JUMP * middle, _JUMP_OF_NOISE * noise)
    bend = max(least, _JUMP_OF_SLOPE * median(bends[trusted]))
    step = max(least, _JUMP_OF_SLOPE * median(steps[trusted]), 2 * _STEEPEST * middle / focal)
    reach = max(_MOST_DEVIATIONS * spread, _JUMP_OF_NOISE * noise, _DEEPEST * math.sqrt(area) / focal * middle)
    with np.errstate(invalid="ignore"):
        return trusted & (steps < step) & (bends < bend) & (np.abs(z - middle) < reach)


def _largest_part(trusted: NDArray[np.bool_], z: Floats) -> tuple[NDArray[np.uint8], int]:
    """Return the largest connected part, with others at its depth, as uint8; and its number of pixels."""
    image = trusted.view(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(image, connectivity=8, ltype=cv2.CV_32S)
    if count <= 2:
        return image, int(np.count_nonzero(image))
    sizes = stats[1:, cv2.CC_STAT_AREA]
    largest = int(sizes.argmax()) + 1
    own = z[parts == largest]
    low, high = quantile(own, 0.02), quantile(own, 0.98)
    slack = 0.25 * (high - low) + _LEAST_JUMP * low
    chosen = np.zeros(count, np.uint8)
    chosen[largest] = 1
    for number in np.flatnonzero(sizes >= max(_SMALLEST_PART * len(own), 4)) + 1:
        middle = median(z[parts == number])
        chosen[number] = low - slack < middle < high + slack
    part = chosen[parts]
    return part, int(np.count_nonzero(part))


def _outline(
    own: NDArray[Any], near: Floats, band: int, settings: LocalizerSettings
) -> tuple[NDArray[np.int32], float]:
    """Return the outline (M, 2) as (column, row), and the share of it beside which something nearer is."""
    smooth = cv2.morphologyEx(own, cv2.MORPH_OPEN, _square(1))
    contours, _ = cv2.findContours(smooth if smooth.any() else own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = np.concatenate(contours)[:, 0].astype(np.int32)
    outside = np.where(own > 0, _FARTHEST, near)
    beside = cv2.erode(outside, _square(_RING))[outline[:, 1], outline[:, 0]]
    within = cv2.erode(np.where(own > 0, near, _FARTHEST), _square(band + 1))[outline[:, 1], outline[:, 0]]
    limit = within - np.maximum(_LEAST_JUMP * within, _JUMP_OF_NOISE * settings.depth_noise * within**2)
    return outline, float(np.mean(beside < limit))
