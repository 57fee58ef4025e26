"""How far a box is from the true one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from sam_core.localization import Location
from sam_core.synthetic.solids import Pose, Solid

__all__ = ["Errors", "compare", "iou_3d"]


@dataclass(frozen=True)
class Errors:
    """What is wrong with a box.

    Attributes:
        shape: The true shape.
        fitted: The fitted one.
        distance: Of the true centre from the camera, m.
        centre: Distance between the centres, m.
        size: Mean over the three sides of the relative error.
        iou: Intersection over union of the boxes.
        yaw: Between the boxes' nearest horizontal axes, rad; NaN for round shapes, which have none.
    """

    shape: str
    fitted: str
    distance: float
    centre: float
    size: float
    iou: float
    yaw: float


def compare(location: Location, solid: Solid, pose: Pose, camera: np.ndarray) -> Errors:
    """Compare a box in the world with the truth; `camera` is the camera's place (3,) in the world."""
    yaw = math.atan2(location.rotation[1, 0], location.rotation[0, 0])
    size = location.size
    quarter = round((yaw - pose.yaw) / (math.pi / 2))
    turned = yaw - quarter * math.pi / 2
    if quarter % 2:
        size = size[[1, 0, 2]]
    is_box = solid.shape == "box"
    truth = (np.array(pose.centre), np.array(solid.size), pose.yaw if is_box else turned)
    return Errors(
        solid.shape,
        location.shape,
        float(np.linalg.norm(truth[0] - camera)),
        float(np.linalg.norm(location.centre - truth[0])),
        float(np.mean(np.abs(size / truth[1] - 1))),
        iou_3d((location.centre, size, turned), truth),
        abs(turned - pose.yaw) if is_box else math.nan,
    )


Box = tuple[np.ndarray, np.ndarray, float]  # centre (3,), size (3,), yaw


def iou_3d(one: Box, two: Box) -> float:
    """Return the intersection over union of two upright boxes."""
    first, second = (
        ((float(c[0]), float(c[1])), (float(s[0]), float(s[1])), math.degrees(yaw)) for c, s, yaw in (one, two)
    )
    _, region = cv2.rotatedRectangleIntersection(first, second)
    area = cv2.contourArea(cv2.convexHull(region)) if np.size(region) > 2 else 0.0  # OpenCV gives None for nothing
    low = max(c[2] - s[2] / 2 for c, s, _ in (one, two))
    high = min(c[2] + s[2] / 2 for c, s, _ in (one, two))
    both = area * max(high - low, 0.0)
    return float(both / (np.prod(one[1]) + np.prod(two[1]) - both))
