"""Bring a depth image into another camera's view: registration of depth to colour."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.localization.camera import Camera, CameraError

__all__ = ["register"]

_LARGEST_FOOTPRINT = 16  # px a side that one depth pixel may cover in the colour image


def register(
    depth: NDArray[np.float32], camera: Camera, colour: Camera, transform: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the depth that the colour camera would see.

    Each pixel is moved to where the colour camera sees it. Where several meet, the nearest counts. A pixel covers as
    much of the image as it did before, so that no gaps appear where the colour image has more pixels.

    Args:
        depth: (H, W) depth along the optical axis in m; 0, NaN or inf where there is none.
        camera: Of the depth image.
        colour: Of the colour image.
        transform: (4, 4) from the depth camera's optical frame to the colour camera's.

    Returns:
        (colour.height, colour.width) float32 in m; 0 where there is none.

    Raises:
        CameraError: The colour camera's focal length is more than 16 times that of the depth image.
    """
    magnification = max(colour.focal[0] / camera.focal[0], colour.focal[1] / camera.focal[1])
    if magnification > _LARGEST_FOOTPRINT:
        raise CameraError(
            f"the colour camera's focal length is {magnification:.3g} times the depth camera's; at most "
            f"{_LARGEST_FOOTPRINT} times is supported"
        )
    with np.errstate(invalid="ignore"):
        rows, columns = np.nonzero((depth > 0) & np.isfinite(depth))
    z = depth[rows, columns].astype(np.float64)
    points = np.concatenate((camera.rays[rows, columns] * z[:, None], z[:, None]), axis=1)
    points = points @ transform[:3, :3].T + transform[:3, 3]
    points = points[points[:, 2] > 1e-3]
    size = max(1, round(magnification))
    empty = np.float32(np.inf)
    flat = np.full(colour.height * colour.width, empty, np.float32)
    corner = np.rint(colour.project(points) - (size - 1) / 2)
    within = (np.abs(corner) < 1e6).all(axis=1)  # a number beyond what an index holds is outside of any image
    corner, nearness = corner[within].astype(int), points[within, 2].astype(np.float32)
    for dy in range(size):
        for dx in range(size):
            x, y = corner[:, 0] + dx, corner[:, 1] + dy
            seen = (x >= 0) & (x < colour.width) & (y >= 0) & (y < colour.height)
            np.minimum.at(flat, y[seen] * colour.width + x[seen], nearness[seen])
    registered = flat.reshape(colour.height, colour.width)
    # Rotation and magnification leave single pixels empty: they get the nearest depth beside them.
    around = cv2.erode(registered, np.ones((3, 3), np.uint8))
    count = cv2.boxFilter(np.isfinite(registered).astype(np.float32), -1, (3, 3), normalize=False)
    registered = np.where(np.isinf(registered) & (count >= 5), around, registered)
    return np.where(np.isinf(registered), np.float32(0), registered)
