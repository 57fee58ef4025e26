"""What a stereo or structured-light camera makes of exact depth: noise, ragged edges, flying pixels, shadows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["NOISE_AT_1_M", "stereo_depth"]

# Khoshelham and Elberink, Accuracy and resolution of Kinect depth data (2012), section 4: the standard deviation of a
# depth is 1.425e-3 z^2 and its resolution 2.85e-3 z^2 (m), because disparity, which is measured, is as 1 / z.
NOISE_AT_1_M = 1.425e-3
_STEP = 2.85e-3
_JITTER = 0.8  # px: the lateral noise that Nguyen, Izadi and Lovell, Modeling Kinect sensor noise (2012) measure
_JUMP = 0.05  # share of the depth by which neighbours differ where a surface ends
_FLYING, _LOST = 0.25, 0.15  # shares of the pixels along such an edge that lie between both surfaces, or are missing
_BASELINE = 0.06  # m, between the two views: what only one of them sees has no depth


def stereo_depth(
    depth: NDArray[np.float32], focal: float, rng: np.random.Generator, *, nearest: float = 0.3, farthest: float = 8.0
) -> NDArray[np.float32]:
    """Return depth as a camera measures it.

    Args:
        depth: (H, W) exact depth along the optical axis in m; 0 or inf where there is nothing.
        focal: Focal length in px.
        rng: Source of the noise.
        nearest: Least depth that is measured, m.
        farthest: Largest depth that is measured, m.

    Returns:
        (H, W) in m; 0 where there is no depth.
    """
    height, width = depth.shape
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    jitter = rng.normal(0.0, _JITTER, (2, height, width)).astype(np.float32)
    flat = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(1e6)).astype(np.float32)
    ragged = cv2.remap(flat, xs + jitter[0], ys + jitter[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    square = np.ones((3, 3), np.uint8)
    near, far = cv2.erode(flat, square), cv2.dilate(flat, square)
    edge = far - near > _JUMP * near
    chance = rng.random((height, width), dtype=np.float32)
    between = near + (np.minimum(far, 2 * near) - near) * rng.random((height, width), dtype=np.float32)
    ragged = np.where(edge & (chance < _FLYING), between, ragged)

    noise = cv2.GaussianBlur(rng.normal(0.0, 1.0, (height, width)).astype(np.float32), (0, 0), 1.0)
    inverse = 1 / ragged + noise * np.float32(NOISE_AT_1_M / noise.std())
    inverse = np.rint(inverse / _STEP * 4) * (_STEP / 4)  # quantised within the resolution
    with np.errstate(divide="ignore"):
        measured = 1 / inverse
    lost = edge & (chance > 1 - _LOST) | _shadow(flat, focal) | ~((measured > nearest) & (measured < farthest))
    measured[lost] = 0
    return measured.astype(np.float32)


def _shadow(depth: NDArray[np.float32], focal: float) -> NDArray[np.bool_]:
    """Return where the second view, a baseline to the left, sees something nearer."""
    columns = np.arange(depth.shape[1], dtype=np.float32) + np.float32(focal * _BASELINE) / depth
    return columns + 1 < np.maximum.accumulate(columns, axis=1)  # one pixel of slack for slanted surfaces
