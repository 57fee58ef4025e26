"""Publish a source's depth beside its pictures, and the truth in space where it is known."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import Quaternion, TransformStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

from sam_ros.camera.pictures import Picture, SolidTruth
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.rotations import quaternion_of
from sam_ros.conversions.stamps import stamp_of, to_time

__all__ = ["DEPTH_ENCODINGS", "WORLD", "DepthPublisher"]

DEPTH_ENCODINGS = ("16UC1", "32FC1")
WORLD = "map"  # frame of a scene's truth; its z axis points up
_LATCHED = QoSProfile(
    depth=1, reliability=QoSReliabilityPolicy.RELIABLE, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL
)


class DepthPublisher:
    """Publish `depth`, `depth/camera_info`, and for a scene `~/truth_3d` and the camera's place in /tf_static.

    Args:
        node: The camera.
        qos: Of the depth images.
        encoding: One of `DEPTH_ENCODINGS`.
        frame_id: Of the camera.
        camera_pose: (4, 4) from the camera's frame to the world; None where there is no world.
    """

    def __init__(
        self, node: Node, qos: QoSProfile, encoding: str, frame_id: str, camera_pose: NDArray[np.float64] | None
    ) -> None:
        self._encoding = encoding
        self._depths: Any = node.create_publisher(Image, "depth", qos)
        self._infos: Any = node.create_publisher(CameraInfo, "depth/camera_info", qos)
        self._truth: Any = node.create_publisher(Detection3DArray, "~/truth_3d", 100)
        if camera_pose is not None:
            self._static: Any = node.create_publisher(TFMessage, "/tf_static", _LATCHED)
            self._static.publish(TFMessage(transforms=[_transform(camera_pose, frame_id)]))

    def publish(self, picture: Picture, header: Header, info: CameraInfo) -> None:
        """Publish the depth of a picture; `info` is the picture's camera."""
        if picture.depth is None:
            return
        stamp = to_time(stamp_of(header) + round(picture.depth_delay * 1e9))
        depth_header = Header(stamp=stamp, frame_id=header.frame_id)
        depth = picture.depth
        if depth.shape != (info.height, info.width):
            depth = cv2.resize(depth, (info.width, info.height), interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]
        samples: NDArray[Any] = depth
        if self._encoding == "16UC1":
            samples = np.rint(depth * 1000).clip(0, 65535).astype(np.uint16)
        self._depths.publish(array_to_image(samples, self._encoding, depth_header))
        self._infos.publish(
            CameraInfo(
                header=depth_header,
                width=info.width,
                height=info.height,
                distortion_model=info.distortion_model,
                d=info.d,
                k=info.k,
                r=info.r,
                p=info.p,
            )
        )
        if picture.solids and self._truth.get_subscription_count():
            truth = Detection3DArray(header=Header(stamp=header.stamp, frame_id=WORLD))
            truth.detections = [_detection(i, solid, truth.header) for i, solid in enumerate(picture.solids, start=1)]
            self._truth.publish(truth)


def _transform(pose: NDArray[np.float64], frame_id: str) -> TransformStamped:
    item = TransformStamped(child_frame_id=frame_id)
    item.header.frame_id = WORLD
    item.transform.translation.x, item.transform.translation.y, item.transform.translation.z = pose[:3, 3].tolist()
    x, y, z, w = quaternion_of(pose[:3, :3])
    item.transform.rotation = Quaternion(x=x, y=y, z=z, w=w)
    return item


def _detection(number: int, solid: SolidTruth, header: Header) -> Detection3D:
    """Return the true box of a scene's object; its id is its number in `~/truth`."""
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = solid.name, 1.0
    detection = Detection3D(header=header, id=str(number), results=[hypothesis])
    box = detection.bbox
    box.center.position.x, box.center.position.y, box.center.position.z = solid.centre
    box.center.orientation.z, box.center.orientation.w = float(np.sin(solid.yaw / 2)), float(np.cos(solid.yaw / 2))
    box.size.x, box.size.y, box.size.z = solid.size
    return detection
