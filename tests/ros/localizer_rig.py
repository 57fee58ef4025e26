"""A depth camera and a perfect tracker that the localizer's tests publish as, and what comes back."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sam_msgs.msg import LocalizedObjectArray, TrackedObject, TrackedObjectArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from sam_core.streaming.cropped_mask import CroppedMask
from sam_core.synthetic.room_scene import RoomFrame, RoomScene
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.rotations import quaternion_of
from sam_ros.conversions.stamps import stamp_of, to_time

__all__ = ["FRAME", "PARAMETERS", "QOS", "Rig"]

FRAME = "camera_optical_frame"
QOS = QoSProfile(depth=100)
RELIABLE = {f"qos_overrides./{topic}.subscription.reliability": "reliable" for topic in ("depth", "camera_info")}
PARAMETERS = {
    "target_frame": "map",
    "stamp_tolerance": 0.0,
    "partner_timeout": 2.0,
    "transform_timeout": 0.2,
    "publish_tf": True,
    "input_timeout": 0.0,
    "autostart": True,
    **RELIABLE,
}
TIMEOUT = 40.0


class Rig:
    """A depth camera and a tracker as the localizer sees them, and what comes back from it."""

    _stamps = itertools.count(5000 * 10**9, 33_333_333)

    def __init__(self, name: str = "localizer") -> None:
        self.node = rclpy.create_node(f"rig_of_{name}_{next(self._stamps)}")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.scene = RoomScene(320, 240)
        self.name = name
        self.depths = self.node.create_publisher(Image, "/depth", QOS)
        self.objects = self.node.create_publisher(TrackedObjectArray, "/objects", QOS)
        self.infos = self.node.create_publisher(CameraInfo, "/camera_info", QOS)
        latched = QoSProfile(depth=100, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.statics = self.node.create_publisher(TFMessage, "/tf_static", latched)
        self.results: dict[int, LocalizedObjectArray] = {}
        self.status: Any = None
        self.seen: dict[str, dict[int, Any]] = {}
        self.node.create_subscription(LocalizedObjectArray, f"/{name}/objects", self._on_result, QOS)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QOS)

    def _on_result(self, message: LocalizedObjectArray) -> None:
        self.results[stamp_of(message.header)] = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f"/{self.name}: localization":
                self.status = status

    def watch(self, kind: type, topic: str) -> dict[int, Any]:
        """Collect a topic's messages by their stamp."""
        store: dict[int, Any] = {}

        def keep(message: Any) -> None:
            first = message.markers[0] if kind is MarkerArray else message
            store[stamp_of(first.header)] = message

        self.node.create_subscription(kind, topic, keep, QOS)
        self.until(lambda: self.node.count_publishers(topic), topic)
        return store

    def value(self, key: str) -> str:
        """Return a value of the newest diagnostics."""
        return "" if self.status is None else {item.key: item.value for item in self.status.values}.get(key, "")

    def until(self, condition: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> Any:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            self.executor.spin_once(timeout_sec=0.05)
        raise TimeoutError(f"waited {timeout} s for {what}; {self.status}")

    def connected(self) -> bool:
        publishers = (self.depths, self.objects, self.infos, self.statics)
        return all(publisher.get_subscription_count() for publisher in publishers)

    def header(self) -> Header:
        return Header(stamp=to_time(next(self._stamps)), frame_id=FRAME)

    def calibrate(self, header: Header, **changes: Any) -> None:
        k = self.scene.intrinsics.ravel().tolist()
        info = CameraInfo(header=header, width=320, height=240, k=k, distortion_model="plumb_bob", d=[0.0] * 5)
        for key, value in changes.items():
            setattr(info, key, value)
        self.infos.publish(info)

    def place_camera(self) -> None:
        item = TransformStamped(child_frame_id=FRAME)
        item.header.frame_id = "map"
        pose = self.scene.camera_pose
        item.transform.translation.x, item.transform.translation.y, item.transform.translation.z = pose[:3, 3].tolist()
        x, y, z, w = quaternion_of(pose[:3, :3])
        rotation = item.transform.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = x, y, z, w
        self.statics.publish(TFMessage(transforms=[item]))

    def track(self, frame: RoomFrame, header: Header, *, masks: bool = True) -> None:
        """Publish what a tracker with perfect masks says."""
        message = TrackedObjectArray(header=header)
        for i, name in enumerate(self.scene.object_names, start=1):
            mask = CroppedMask.of(frame.labels == i)
            item = TrackedObject(id=i, label=name, state=TrackedObject.TRACKED, predicted_iou=0.9, presence=1.0)
            x, y, x2, y2 = mask.box
            item.box.x_offset, item.box.y_offset, item.box.width, item.box.height = x, y, x2 - x, y2 - y
            if masks:
                item.mask = array_to_image(mask.pixels.view(np.uint8) * np.uint8(255), "mono8", header)
            message.objects.append(item)
        self.objects.publish(message)

    def publish_depth(self, depth: np.ndarray, header: Header) -> None:
        """Publish depth in mm."""
        millimetres = np.rint(np.nan_to_num(depth, posinf=0) * 1000).clip(0, 65535).astype(np.uint16)
        self.depths.publish(array_to_image(millimetres, "16UC1", header))

    def show(self, index: int = 0) -> tuple[RoomFrame, LocalizedObjectArray]:
        """Publish everything of a frame and return the truth and the answer."""
        frame, header = self.scene.render(index), self.header()
        self.publish_depth(frame.depth, header)
        self.track(frame, header)
        return frame, self.until(lambda: self.results.get(stamp_of(header)), "the objects in space")

    def problem(self, cause: str, before: int = 0) -> str:
        """Wait until a pair was refused for a cause, and return the newest problem."""
        self.until(lambda: int(self.value(f"pairs refused: {cause}") or 0) > before, f"a refusal: {cause}")
        return self.value("last problem")

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
