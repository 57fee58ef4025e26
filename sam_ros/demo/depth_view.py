"""Draw boxes in space: into the camera's image, and from above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_ros.conversions.colours import colour_of

__all__ = ["SpaceBox", "draw_birds_eye", "draw_boxes"]

Doubles = NDArray[np.float64]
FONT = cv2.FONT_HERSHEY_SIMPLEX
NEAREST = 0.05  # m in front of the camera, for a corner to be drawn
# Pairs of corners that an edge joins: those that differ in one coordinate.
EDGES = [(a, a | bit) for bit in (1, 2, 4) for a in range(8) if not a & bit]


@dataclass(frozen=True)
class SpaceBox:
    """A box to draw.

    Attributes:
        object_id: Whose it is; 0 for the truth.
        label: What it is called.
        corners: (8, 3) m; corners whose numbers differ in one bit share an edge, bit 0 is z.
        velocity: (3,) m/s, NaN where it is not known.
    """

    object_id: int
    label: str
    corners: Doubles
    velocity: Doubles

    @property
    def centre(self) -> Doubles:
        """Its middle, (3,) m."""
        middle: Doubles = self.corners.mean(axis=0)
        return middle


def draw_boxes(image: NDArray[Any], boxes: list[SpaceBox], matrix: Doubles, to_camera: Doubles) -> None:
    """Draw boxes into an image, in place.

    Args:
        image: uint8 BGR (H, W, 3).
        boxes: In any frame.
        matrix: (3, 3) of the camera, without distortion.
        to_camera: (4, 4) from the boxes' frame to the camera's.
    """
    for box in boxes:
        points = box.corners @ to_camera[:3, :3].T + to_camera[:3, 3]
        if points[:, 2].min() < NEAREST:
            continue
        pixels = points @ matrix.T
        corners = np.rint(pixels[:, :2] / pixels[:, 2:]).clip(-10000, 10000).astype(int).tolist()
        for a, b in EDGES:
            cv2.line(image, corners[a], corners[b], colour_of(box.object_id), 2, cv2.LINE_AA)
        distance = float(np.linalg.norm(points.mean(axis=0)))
        x, y = min(corner[0] for corner in corners), max(corner[1] for corner in corners)
        cv2.putText(image, f"{distance:.2f} m", (x, y + 14), FONT, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(image, f"{distance:.2f} m", (x, y + 14), FONT, 0.45, (255, 255, 255), 1, cv2.LINE_AA)


def draw_birds_eye(
    height: int, boxes: list[SpaceBox], truth: list[SpaceBox], trails: dict[int, list[Doubles]], axes: Doubles
) -> NDArray[np.uint8]:
    """Return a square picture from above, uint8 BGR: the camera below in the middle, a line for each metre.

    Args:
        height: Its side, px.
        boxes: What was located.
        truth: Where it is in truth, in grey.
        trails: Places of each object's centre so far.
        axes: (2, 3) the directions to the right and ahead in the boxes' frame.
    """
    canvas: NDArray[np.uint8] = np.full((height, height, 3), 28, np.uint8)
    reach = 5.0  # m ahead
    scale = (height - 30) / reach

    def place(points: Doubles) -> NDArray[np.int32]:
        right, ahead = axes @ np.atleast_2d(points).T
        return np.rint(np.stack((height / 2 + right * scale, height - 16 - ahead * scale), axis=1)).astype(np.int32)

    camera = (height // 2, height - 16)
    for metre in range(1, int(reach) + 1):
        cv2.circle(canvas, camera, round(metre * scale), (70, 70, 70), 1, cv2.LINE_AA)
        cv2.putText(
            canvas, f"{metre} m", (camera[0] + 3, camera[1] - round(metre * scale) + 12), FONT, 0.35, (150,) * 3, 1
        )
    cv2.drawMarker(canvas, camera, (255, 255, 255), cv2.MARKER_TRIANGLE_UP, 14, 2)
    for box in truth:
        cv2.polylines(canvas, [cv2.convexHull(place(box.corners))], True, (160, 160, 160), 1, cv2.LINE_AA)
    for box in boxes:
        colour = colour_of(box.object_id)
        trail = trails.get(box.object_id, [])
        if len(trail) > 1:
            cv2.polylines(canvas, [place(np.array(trail))], False, colour, 1, cv2.LINE_AA)
        cv2.polylines(canvas, [cv2.convexHull(place(box.corners))], True, colour, 2, cv2.LINE_AA)
        x, y = place(box.centre)[0].tolist()
        if np.isfinite(box.velocity).all() and np.linalg.norm(box.velocity) > 0.1:
            cv2.arrowedLine(
                canvas, (x, y), place(box.centre + box.velocity)[0].tolist(), (255, 255, 255), 1, cv2.LINE_AA
            )
        cv2.putText(canvas, f"{box.object_id} {box.label}", (x + 10, y - 8), FONT, 0.38, colour, 1, cv2.LINE_AA)
    cv2.putText(canvas, "from above (grey: truth)" if truth else "from above", (8, 16), FONT, 0.42, (220,) * 3, 1)
    return canvas
