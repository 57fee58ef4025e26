"""Objects as Foxglove's annotations, where foxglove_msgs is installed; tests/packaging/test_foxglove.py builds it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from sam_core import FrameResult, ObjectState
from sam_ros.conversions.annotations import annotations_message
from sam_ros.conversions.colours import colour_of
from sam_ros.conversions.masks import Masks
from sam_ros.conversions.stamps import nanoseconds, stamp_of

messages = pytest.importorskip("foxglove_msgs.msg")

HEADER = Header(stamp=Time(sec=12, nanosec=34), frame_id="camera")
SIZE = (40, 60)  # height, width


def masks_of(*masks: np.ndarray) -> Masks:
    """Return a result with these masks (H, W), the last of them empty."""
    boxes = [cv2.boundingRect(mask.astype(np.uint8)) for mask in masks]
    count = len(masks)
    return Masks.of(
        FrameResult(
            frame=1,
            stamp=12 * 10**9 + 34,
            image_size=SIZE,
            object_ids=tuple(range(3, 3 + count)),
            labels=("cup\x1b[2J", *[""] * (count - 1)),
            states=(ObjectState.TRACKED,) * count,
            low_res=torch.zeros(count, 10, 15),
            masks=torch.from_numpy(np.stack(masks)),
            boxes=torch.tensor([[x, y, x + w, y + h] for x, y, w, h in boxes]),
            areas=torch.tensor([int(mask.sum()) for mask in masks]),
            centroids=torch.full((count, 2), 5.0),
            predicted_iou=torch.full((count,), 0.8),
            presence=torch.full((count,), 0.5),
        )
    )


def filled(parts: list[Any], size: tuple[int, int]) -> np.ndarray:
    """Fill the polygons of points annotations, holes by the even-odd rule: bool (H, W)."""
    canvas = np.zeros(size, np.uint8)
    polygons = [np.array([(point.x - 0.5, point.y - 0.5) for point in part.points]).round() for part in parts]
    cv2.fillPoly(canvas, [polygon.astype(np.int32) for polygon in polygons], 1)
    return canvas > 0


def test_outlines_with_holes_and_names_in_the_objects_colours() -> None:
    disc, ring, nothing = np.zeros((3, *SIZE), np.uint8)
    cv2.circle(disc, (15, 20), 10, 1, cv2.FILLED)
    cv2.circle(ring, (44, 20), 12, 1, cv2.FILLED)
    cv2.circle(ring, (44, 20), 5, 0, cv2.FILLED)
    message = annotations_message(masks_of(disc > 0, ring > 0, nothing > 0), HEADER)
    message = deserialize_message(serialize_message(message), messages.ImageAnnotations)

    assert [part.type for part in message.points] == [messages.PointsAnnotation.LINE_LOOP] * 3  # the ring has two edges
    assert all(part.timestamp == HEADER.stamp for part in (*message.points, *message.texts))
    blue, green, red = (part / 255 for part in colour_of(3))
    first = message.points[0].outline_color
    assert (first.r, first.g, first.b, first.a) == pytest.approx((red, green, blue, 1.0))
    for mask, parts in ((disc, message.points[:1]), (ring, message.points[1:])):
        ours = filled(parts, SIZE)
        assert (ours & (mask > 0)).sum() / (ours | (mask > 0)).sum() > 0.9
    assert [text.text for text in message.texts] == ["3 cup\\x1b[2J 0.40", "4 object 0.40"]
    assert (message.texts[0].position.x, message.texts[0].position.y) == (5.0, 10.0)
    assert message.texts[0].background_color == first


def test_the_tracker_publishes_them_while_somebody_looks(client: Any, picture: Any) -> None:
    received: dict[int, Any] = {}

    def keep(message: Any) -> None:
        received.update({nanoseconds(part.timestamp): message for part in message.texts})

    subscription = client.node.create_subscription(messages.ImageAnnotations, "/tracker/annotations", keep, 10)
    try:
        client.track(picture(0))
        assert client.call_prompt_with_mask().success
        client.until(lambda: client.node.count_publishers("/tracker/annotations"), "the topic")

        def annotated() -> Any:
            return received.get(stamp_of(client.track(picture(0)).header))

        message = client.until(annotated, "annotations of an image that was tracked")
    finally:
        client.node.destroy_subscription(subscription)
    stamp = nanoseconds(message.points[0].timestamp)
    client.until(lambda: stamp in client.label_images, "the label image")
    labels = np.frombuffer(client.label_images[stamp].data, np.uint16).reshape(96, 128) > 0
    ours = filled(message.points, (96, 128))
    assert (ours & labels).sum() / (ours | labels).sum() > 0.8
