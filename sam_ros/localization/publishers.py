"""The localizer's publishers. A message is made only if its topic has subscribers."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sam_msgs.msg import LocalizedObjectArray
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from sam_core.localization import Motions
from sam_ros.localization.cloud import cloud_message
from sam_ros.localization.frame import Located
from sam_ros.localization.messages import (
    detections_message,
    markers_message,
    objects_message,
    pose_message,
    tf_message,
)
from sam_ros.localization.transforms import TF_QOS
from sam_ros.runtime.lifecycle_publishers import LifecyclePublishers

__all__ = ["Publishers"]

RESULT_QOS = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
CLOUD_QOS = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)


class Publishers(LifecyclePublishers):
    """Publish what is located; lives from configure to cleanup.

    Args:
        node: The node, whose lifecycle switches the publishers on and off.
    """

    def __init__(self, node: LifecycleNode) -> None:
        super().__init__(node)
        self._objects = self._create(LocalizedObjectArray, "~/objects", RESULT_QOS)
        self._detections = self._create(Detection3DArray, "~/detections_3d", RESULT_QOS)
        self._pose = self._create(PoseStamped, "~/pose", RESULT_QOS)
        self._markers = self._create(MarkerArray, "~/markers", RESULT_QOS)
        self._cloud = self._create(PointCloud2, "~/cloud", CLOUD_QOS)
        self._tf = self._create(TFMessage, "/tf", TF_QOS, overridable=False)

    @property
    def wants_cloud(self) -> bool:
        """Whether somebody subscribes to the cloud."""
        return bool(self._cloud.get_subscription_count())

    def publish(
        self, located: Located, motions: Motions, image: NDArray[np.uint8] | None, *, pose_object: int, with_tf: bool
    ) -> None:
        """Publish everything of a pair.

        Args:
            located: What was found.
            motions: Velocities and trails of the objects.
            image: uint8 RGB (H, W, 3) of the same stamp for the cloud's colours; None where it is not at hand.
            pose_object: Object of `~/pose`; 0 for the first.
            with_tf: Whether each object gets a tf frame.
        """
        self._objects.publish(objects_message(located, motions))
        if self._detections.get_subscription_count():
            self._detections.publish(detections_message(located))
        if self._pose.get_subscription_count():
            pose = pose_message(located, pose_object)
            if pose is not None:
                self._pose.publish(pose)
        if self._markers.get_subscription_count():
            self._markers.publish(markers_message(located, motions))
        if self.wants_cloud:
            self._cloud.publish(cloud_message(located, image))
        if with_tf:
            self._tf.publish(tf_message(located, self._node.get_name()))
