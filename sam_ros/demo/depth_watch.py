"""The demo's view of the localizer: boxes joined with the picture of their stamp, and compared with the truth."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sam_msgs.msg import LocalizedObject, LocalizedObjectArray
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from sam_ros.conversions.rotations import matrix_of
from sam_ros.conversions.stamps import stamp_of
from sam_ros.demo.depth_view import SpaceBox, draw_birds_eye, draw_boxes

__all__ = ["DepthWatch"]

T = TypeVar("T")
QOS = QoSProfile(depth=30)
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
KEPT = 60  # pictures, results and truths that wait for their companions
TRAIL = 60
OPTICAL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # right and ahead in a camera's frame
LEVEL = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])  # in the scene's world


class DepthWatch:
    """Join pictures with boxes.

    Args:
        keep: Called with each finished picture (uint8 BGR) and its stamp in ns.
    """

    def __init__(self, keep: Callable[[NDArray[np.uint8], int], None]) -> None:
        self._keep = keep
        self._pictures: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._results: OrderedDict[int, LocalizedObjectArray] = OrderedDict()
        self._truths: OrderedDict[int, Detection3DArray] = OrderedDict()
        self._trails: dict[int, deque[NDArray[np.float64]]] = defaultdict(lambda: deque(maxlen=TRAIL))
        self._matrix: NDArray[np.float64] | None = None
        self._to_camera: NDArray[Any] = np.eye(4)
        self._axes = OPTICAL
        self._errors: dict[int, list[tuple[float, ...]]] = defaultdict(list)  # of each object: see _compare

    def subscribe(self, node: Node) -> None:
        """Listen to the localizer and the camera."""
        node.create_subscription(LocalizedObjectArray, "localizer/objects", self._on_result, QOS)
        node.create_subscription(CameraInfo, "camera_info", self._on_info, QOS)
        node.create_subscription(TFMessage, "/tf_static", self._on_place, LATCHED)
        node.create_subscription(Detection3DArray, "camera/truth_3d", self._on_truth, QOS)

    def add(self, image: NDArray[np.uint8], stamp: int) -> None:
        """Take a picture (uint8 BGR (H, W, 3)); it is kept once its boxes have come."""
        _store(self._pictures, stamp, image)
        self._join(stamp)

    def _on_result(self, message: LocalizedObjectArray) -> None:
        stamp = stamp_of(message.header)
        _store(self._results, stamp, message)
        self._compare(stamp)
        self._join(stamp)

    def _on_truth(self, message: Detection3DArray) -> None:
        _store(self._truths, stamp_of(message.header), message)

    def _on_info(self, message: CameraInfo) -> None:
        self._matrix = np.array(message.k).reshape(3, 3)

    def _on_place(self, message: TFMessage) -> None:
        (item,) = message.transforms
        move, turn = item.transform.translation, item.transform.rotation
        pose = np.eye(4)
        pose[:3, :3] = matrix_of(np.array([turn.x, turn.y, turn.z, turn.w]))
        pose[:3, 3] = move.x, move.y, move.z
        self._to_camera, self._axes = np.linalg.inv(pose), LEVEL

    def _join(self, stamp: int) -> None:
        picture, result = self._pictures.get(stamp), self._results.get(stamp)
        if picture is None or result is None or self._matrix is None:
            return
        boxes = [_box_of(item) for item in result.objects if item.state == LocalizedObject.LOCALIZED]
        for box in boxes:
            self._trails[box.object_id].append(box.centre)
        truth = [_truth_box(item) for item in self._truths[stamp].detections] if stamp in self._truths else []
        canvas = picture.copy()
        draw_boxes(canvas, boxes, self._matrix, self._to_camera)
        trails = {key: list(trail) for key, trail in self._trails.items()}
        above = draw_birds_eye(canvas.shape[0], boxes, truth, trails, self._axes)
        self._keep(np.hstack((canvas, above)), stamp)
        del self._pictures[stamp]

    def _compare(self, stamp: int) -> None:
        """Note for each object its centre, its size's volume and id, for the summary."""
        for item in self._results[stamp].objects:
            if item.state == LocalizedObject.LOCALIZED:
                at = item.pose.pose.position
                self._errors[item.id].append((stamp, at.x, at.y, at.z))

    def summary(self, numbers: dict[int, int]) -> list[str]:
        """Compare with the truth, one line an object.

        Args:
            numbers: Number in the truth by object id.
        """
        lines = [f"images localized: {len({entry[0] for entries in self._errors.values() for entry in entries})}"]
        place = np.linalg.inv(self._to_camera)[:3, 3]
        for object_id, entries in self._errors.items():
            errors, name = [], ""
            for stamp, *centre in entries:
                truth = self._truths.get(int(stamp))
                if truth is None or object_id not in numbers:
                    continue
                item = truth.detections[numbers[object_id] - 1]
                true = item.bbox.center.position
                name = item.results[0].hypothesis.class_id
                distance = np.linalg.norm(np.array((true.x, true.y, true.z)) - place)
                errors.append(np.linalg.norm(np.array(centre) - (true.x, true.y, true.z)) / distance)
            if errors:
                lines.append(
                    f"centre of {name}: median error {np.median(errors):.1%} of its distance over {len(errors)} images"
                )
        return lines


def _store(store: OrderedDict[int, T], stamp: int, item: T) -> None:
    store[stamp] = item
    while len(store) > KEPT:
        store.popitem(last=False)


def _corners(pose: Any, size: Any) -> NDArray[np.float64]:
    turn = pose.orientation
    rotation = matrix_of(np.array([turn.x, turn.y, turn.z, turn.w]))
    signs = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)]) - 0.5
    corners = signs * (size.x, size.y, size.z) @ rotation.T
    return np.asarray(corners + np.array([pose.position.x, pose.position.y, pose.position.z]))


def _box_of(item: LocalizedObject) -> SpaceBox:
    velocity = np.array([item.velocity.x, item.velocity.y, item.velocity.z])
    return SpaceBox(item.id, item.label, _corners(item.pose.pose, item.size), velocity)


def _truth_box(item: Any) -> SpaceBox:
    return SpaceBox(0, item.results[0].hypothesis.class_id, _corners(item.bbox.center, item.bbox.size), np.zeros(3))
