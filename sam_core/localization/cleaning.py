"""Which pixels of a mask are points of the object: no mixed edges, no holes, no reflections, no other surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.localization.quantiles import median, quantile
from sam_core.localization.settings import LocalizerSettings
from sam_core.streaming.cropped_mask import CroppedMask

__all__ = ["MaskDepth", "clean"]

Floats: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[Any]  # uint8, as OpenCV takes and returns it

_PIXELS = 1000  # of a mask that are looked at, at least; of a larger one every second, third, … row and column
_OUTLINE = 300  # px of an outline that are used, at most
_SAMPLE = 1000  # px that a median is taken of, about
_RING = 2  # px around the mask's box that show what borders on it
_MOST_DEVIATIONS = 5.0  # of the median absolute deviation of the range, scaled to a normal distribution
_NORMAL = 1.4826  # standard deviation over median absolute deviation, of a normal distribution
_LEAST_JUMP = 0.02  # share of the depth by which neighbours differ where a surface ends
_JUMP_OF_NOISE = 8.0  # standard deviations of the noise, likewise
_STEEPEST = 6.0  # slope of a surface along the line of sight, beyond which neighbours are not of one surface
_DEEPEST = 1.5  # times its width: an object is hardly deeper
_JUMP_OF_SLOPE = 4.0  # times what is usual within the mask, so that slanted surfaces hold together
_SMALLEST_PART = 0.05  # of the largest part, for another one at the same depth to belong to the object
_NEAREST, _FARTHEST = np.float32(1e-6), np.float32(1e6)  # m, stand for "no depth" in minima and maxima


@dataclass(frozen=True)
class MaskDepth:
    """The depth of one mask.

    Attributes:
        rows: (N,) image rows of the trusted points.
        columns: (N,) their columns.
        depths: (N,) float32, along the optical axis in m.
        outline: (M, 2) int, (column, row) of the outline of the mask where it belongs to these points; at most 300.
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

    All of this is done on a grid: on every pixel of a small mask, and on every n-th row and column of a large one. The
    outline is that of the mask, to a pixel.

    Args:
        mask: Not empty.
        depth: (H, W) float32 depth along the optical axis in m; 0, NaN and inf where there is none.
        focal: Focal length in px.
        settings: The limits.
    """
    height, width = depth.shape
    x_min, y_min, x_max, y_max = mask.box
    left, top = max(0, x_min - _RING), max(0, y_min - _RING)
    crop = depth[top : min(height, y_max + _RING), left : min(width, x_max + _RING)]
    whole = np.zeros(crop.shape, np.uint8)
    whole[y_min - top : y_max - top, x_min - left : x_max - left] = mask.pixels
    area = int(np.count_nonzero(mask.pixels))
    pixels = max(_PIXELS, settings.max_points // 2)
    pitch = max(1, math.isqrt(area // pixels))  # px between two rows or columns of the grid
    z, inside = np.ascontiguousarray(crop[::pitch, ::pitch]), np.ascontiguousarray(whole[::pitch, ::pitch])
    valid = (z > settings.min_range) & (z < settings.max_range)  # false for NaN
    with_depth = valid & inside.view(np.bool_)
    depth_share = int(np.count_nonzero(with_depth)) / max(int(np.count_nonzero(inside)), 1)

    edge = min(max(round(settings.erosion * math.sqrt(area)), 1), settings.max_erosion)  # px
    band = max(1, math.ceil(edge / pitch))
    core = cv2.erode(inside, _square(band), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    near = np.where(valid, z, _FARTHEST)
    jumps = _jumps(near, np.where(valid, z, _NEAREST))
    trusted = core.view(np.bool_) & valid
    if not trusted.any():
        trusted = with_depth
    part = _without_outliers(z, jumps, trusted, math.sqrt(area) / focal, pitch / focal, settings)
    part = _connected(part, z)
    places = np.flatnonzero(part)
    outline, occluded = np.zeros((0, 2), np.int32), 0.0
    if len(places):
        own = cv2.bitwise_and(cv2.dilate(part, _square(band + math.ceil(2 / pitch))), inside)
        outline = _outline(own if pitch == 1 else _enlarged(own, whole, pitch))
        occluded = _occluded(outline // pitch, own, near, band, math.ceil(_RING / pitch), settings)
    places = places[:: max(1, math.ceil(len(places) / settings.max_points))]
    rows, columns = np.divmod(places, z.shape[1])
    return MaskDepth(
        rows=rows * pitch + top,
        columns=columns * pitch + left,
        depths=z.ravel()[places],
        outline=outline + np.array((left, top), np.int32),
        depth_share=depth_share,
        occluded_share=occluded,
        touches_border=x_min == 0 or y_min == 0 or x_max == width or y_max == height,
    )


@lru_cache(maxsize=16)
def _square(radius: int) -> Bytes:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def _jumps(near: Floats, far: Floats) -> tuple[Floats, Floats]:
    """Return how depth differs within 3 x 3 pixels, m: the difference, and what is left of it on a plane."""
    high, low = cv2.dilate(far, _square(1)), cv2.erode(near, _square(1))
    return np.maximum(high - low, 0), np.abs(high + low - 2 * near)


def _without_outliers(
    z: Floats,
    jumps: tuple[Floats, Floats],
    trusted: NDArray[np.bool_],
    width: float,
    pitch: float,
    settings: LocalizerSettings,
) -> Bytes:
    """Leave out pixels beside jumps, and those whose range is far from the median.

    Far is never less than the object's own width: a box that is seen from the front has
    most of its points at one range, and its top reaches away from that.

    Args:
        z: (h, w) depth on the grid, m.
        jumps: How it differs from the places beside it, as `_jumps` returns it.
        trusted: (h, w) where it may be used.
        width: Of the mask at a distance of 1, m.
        pitch: Of the grid, likewise.
        settings: The limits.

    Returns:
        (h, w) uint8, 1 for the rest.
    """
    rest = np.zeros(z.shape, np.uint8)
    places = np.flatnonzero(trusted)
    if not len(places):
        return rest
    ranges, steps, bends = (values.ravel()[places] for values in (z, *jumps))
    sample = slice(None, None, 1 + len(places) // _SAMPLE)
    middle = median(ranges[sample])
    deviations = np.abs(ranges - middle)
    spread = _NORMAL * median(deviations[sample])
    noise = settings.depth_noise * middle**2
    least = max(_LEAST_JUMP * middle, _JUMP_OF_NOISE * noise)
    bend = max(least, _JUMP_OF_SLOPE * median(bends[sample]))
    step = max(least, _JUMP_OF_SLOPE * median(steps[sample]), 2 * _STEEPEST * middle * pitch)
    reach = max(_MOST_DEVIATIONS * spread, _JUMP_OF_NOISE * noise, _DEEPEST * width * middle)
    rest.ravel()[places] = (steps < step) & (bends < bend) & (deviations < reach)
    return rest


def _connected(trusted: Bytes, z: Floats) -> Bytes:
    """Return the largest connected part of what is trusted, with others at its depth."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(trusted, connectivity=8, ltype=cv2.CV_32S)
    if count <= 2:
        return trusted
    sizes = stats[1:, cv2.CC_STAT_AREA]
    largest = int(sizes.argmax()) + 1
    own = z[parts == largest]
    low, high = quantile(own, 0.02), quantile(own, 0.98)
    slack = 0.25 * (high - low) + _LEAST_JUMP * low
    chosen = np.zeros(count, np.uint8)
    chosen[largest] = 1
    for number in np.flatnonzero(sizes >= max(_SMALLEST_PART * len(own), 4)) + 1:
        chosen[number] = low - slack < median(z[parts == number]) < high + slack
    return chosen[parts]


def _enlarged(part: Bytes, whole: Bytes, pitch: int) -> Bytes:
    """Return what is on the mask of a part that is given on the grid."""
    height, width = whole.shape
    return cv2.bitwise_and(part.repeat(pitch, axis=0)[:height].repeat(pitch, axis=1)[:, :width], whole)


def _outline(own: Bytes) -> NDArray[np.int32]:
    """Return the outline (M, 2) of a mask as (column, row)."""
    smooth = cv2.morphologyEx(own, cv2.MORPH_OPEN, _square(1))
    contours, _ = cv2.findContours(smooth if smooth.any() else own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = np.concatenate(contours)[:, 0].astype(np.int32)
    return outline[:: math.ceil(len(outline) / _OUTLINE)]


def _occluded(
    outline: NDArray[np.int32], own: Bytes, near: Floats, band: int, ring: int, settings: LocalizerSettings
) -> float:
    """Return the share of an outline (M, 2), on the grid, beside which something nearer is."""
    places = outline[:, 1] * own.shape[1] + outline[:, 0]
    on = own > 0
    beside = cv2.erode(np.where(on, _FARTHEST, near), _square(ring)).ravel()[places]
    within = cv2.erode(np.where(on, near, _FARTHEST), _square(band + 1)).ravel()[places]
    limit = within - np.maximum(_LEAST_JUMP * within, _JUMP_OF_NOISE * settings.depth_noise * within**2)
    return int(np.count_nonzero(beside < limit)) / len(places)
