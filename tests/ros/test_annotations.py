"""Objects as Foxglove's annotations, where foxglove_msgs is installed; tests/packaging/test_foxglove.py builds it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from ament_index_python.packages import get_package_share_directory
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


def definition(name: str = "ImageAnnotations") -> str:
    """Return a message's definition and those of its parts as foxglove_bridge sends them (ros2msg)."""
    folder = Path(get_package_share_directory("foxglove_msgs")) / "msg"
    texts, missing = {}, [name]
    while missing:
        part = missing.pop(0)
        texts[part] = (folder / f"{part}.msg").read_text()
        found = re.findall(r"^foxglove_msgs/(\w+)", texts[part], re.MULTILINE)
        missing += [other for other in dict.fromkeys(found) if other not in texts and other not in missing]
    first, *others = texts.items()
    return "".join([first[1], *(f"\n{'=' * 80}\nMSG: foxglove_msgs/{part}\n{text}" for part, text in others)])


def test_foxglove_reads_them_over_its_websocket() -> None:
    """As over foxglove_bridge: serialized for ROS, with the schema that the server advertises."""
    foxglove = pytest.importorskip("foxglove")
    typesys = pytest.importorskip("rosbags.typesys")
    client = pytest.importorskip("websockets.sync.client")
    disc = cv2.circle(np.zeros(SIZE, np.uint8), (15, 20), 10, 1, cv2.FILLED)
    sent = annotations_message(masks_of(disc > 0), HEADER)
    schema = foxglove.Schema(name="foxglove_msgs/msg/ImageAnnotations", encoding="ros2msg", data=definition().encode())
    server = foxglove.start_server(port=0)
    try:
        channel = foxglove.Channel("/tracker/annotations", schema=schema, message_encoding="cdr")
        with client.connect(f"ws://127.0.0.1:{server.port}", subprotocols=["foxglove.sdk.v1"]) as socket:
            texts = (json.loads(text) for text in iter(lambda: socket.recv(30), None) if isinstance(text, str))
            (offered,) = next(text for text in texts if text["op"] == "advertise")["channels"]
            wanted = {"op": "subscribe", "subscriptions": [{"id": 1, "channelId": offered["id"]}]}
            socket.send(json.dumps(wanted))
            data = None
            while data is None:  # until the server has taken the subscription
                channel.log(serialize_message(sent))
                with suppress(TimeoutError):
                    data = next(data for data in iter(lambda: socket.recv(1), None) if isinstance(data, bytes))
    finally:
        server.stop()

    assert (offered["topic"], offered["encoding"], offered["schemaEncoding"]) == (
        "/tracker/annotations",
        "cdr",
        "ros2msg",
    )
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    store.register(typesys.get_types_from_msg(offered["schema"], offered["schemaName"]))
    read = store.deserialize_cdr(data[13:], offered["schemaName"])  # after opcode, subscription and time
    assert [(point.x, point.y) for point in read.points[0].points] == [(p.x, p.y) for p in sent.points[0].points]
    assert (read.points[0].type, read.points[0].thickness, read.points[0].timestamp.nanosec) == (2, 2.0, 34)
    assert [text.text for text in read.texts] == [text.text for text in sent.texts]
