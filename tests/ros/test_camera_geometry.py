"""Pixel coordinates of messages against a pinhole camera: a known disc, projected, measured and projected back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from std_msgs.msg import Header

from sam_core import FrameResult, ObjectState
from sam_core.streaming.measure import measure_masks
from sam_ros.camera.calibration import pinhole
from sam_ros.conversions.messages import Masks, detections_message, objects_message

WIDTH, HEIGHT = 641, 480
CAMERA = pinhole(WIDTH, HEIGHT, 1.2)
K = np.array(CAMERA.k).reshape(3, 3)
DISTANCE, RADIUS = 2.0, 0.3  # m: a disc that faces the camera
TO_CAMERA_INFO = -0.5  # px: from the messages' coordinates to those of CameraInfo, as the messages' comments say


def seen(x: float, y: float) -> FrameResult:
    """Show the disc at (x, y, DISTANCE): the pixels whose rays hit it."""
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    rays = np.linalg.inv(K) @ np.stack((columns.ravel(), rows.ravel(), np.ones(columns.size)))  # through the centres
    hits = np.hypot(rays[0] * DISTANCE - x, rays[1] * DISTANCE - y).reshape(HEIGHT, WIDTH) < RADIUS
    masks = torch.from_numpy(hits)[None]
    boxes, areas, centroids = measure_masks(masks)
    one = torch.ones(1)
    return FrameResult(
        0, 0, (HEIGHT, WIDTH), (1,), ("disc",), (ObjectState.TRACKED,), masks.float(), masks, boxes, areas, centroids,
        one, one,
    )  # fmt: skip


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.4123, -0.2), (-0.6, 0.317), (-0.111, 0.0777)])
def test_centroid_and_boxes_are_where_the_camera_sees_the_object(x: float, y: float) -> None:
    masks = Masks.of(seen(x, y))
    (item,) = objects_message(masks, Header()).objects
    box = detections_message(masks, Header()).detections[0].bbox
    points = np.array([[x, y, DISTANCE], [x - RADIUS, y - RADIUS, DISTANCE], [x + RADIUS, y + RADIUS, DISTANCE]])
    projected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, np.zeros(5))
    centre, low, high = projected[:, 0]

    assert (item.centroid_x + TO_CAMERA_INFO, item.centroid_y + TO_CAMERA_INFO) == pytest.approx(centre, abs=0.05)
    assert (box.center.position.x + TO_CAMERA_INFO, box.center.position.y + TO_CAMERA_INFO) == pytest.approx(
        centre, abs=0.51
    )  # its edges lie between pixels
    corner = item.box.x_offset + TO_CAMERA_INFO, item.box.y_offset + TO_CAMERA_INFO
    assert corner == pytest.approx(low, abs=0.51)
    assert (corner[0] + item.box.width, corner[1] + item.box.height) == pytest.approx(high, abs=0.51)
    assert (box.size_x, box.size_y) == (item.box.width, item.box.height)


def test_the_centroid_of_a_rectangle_is_the_centre_of_its_box() -> None:
    result = seen(0.0, 0.0)
    masks = torch.zeros_like(result.masks)
    masks[0, 100:131, 200:260] = True
    boxes, areas, centroids = measure_masks(masks)
    rectangle = Masks.of(
        FrameResult(
            0, 0, (HEIGHT, WIDTH), (1,), ("",), result.states, masks.float(), masks, boxes, areas, centroids,
            result.presence, result.presence,
        )
    )  # fmt: skip
    (item,) = objects_message(rectangle, Header()).objects
    centre = detections_message(rectangle, Header()).detections[0].bbox.center.position
    assert (item.centroid_x, item.centroid_y) == (centre.x, centre.y) == (230.0, 115.5)
