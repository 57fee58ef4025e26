"""The tracker's publishers. A message is made only if its topic has subscribers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sam_msgs.msg import TrackedObjectArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

from sam_core import FrameResult
from sam_ros.conversions.annotations import ImageAnnotations, annotations_message
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.messages import (
    Masks,
    detections_message,
    label_image_message,
    label_info_message,
    objects_message,
)
from sam_ros.conversions.overlay import draw_overlay
from sam_ros.runtime.lifecycle_publishers import LifecyclePublishers

__all__ = ["Publishers"]

# Reliable serves reliable and best-effort subscribers alike; `qos_overrides.*` parameters change it per topic.
RESULT_QOS = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
IMAGE_QOS = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(
    depth=1, reliability=QoSReliabilityPolicy.RELIABLE, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL
)


class Publishers(LifecyclePublishers):
    """Publish a frame's results; lives from configure to cleanup.

    Args:
        node: The node, whose lifecycle switches the publishers on and off.
    """

    def __init__(self, node: LifecycleNode) -> None:
        super().__init__(node)
        self._objects = self._create(TrackedObjectArray, "~/objects", RESULT_QOS)
        self._detections = self._create(Detection2DArray, "~/detections", RESULT_QOS)
        self._label_image = self._create(Image, "~/label_image", IMAGE_QOS)
        self._label_info = self._create(LabelInfo, "~/label_info", LATCHED_QOS)
        self._overlay = self._create(Image, "~/overlay", IMAGE_QOS)
        self._annotations = self._create(ImageAnnotations, "~/annotations", RESULT_QOS) if ImageAnnotations else None
        self._described: tuple[float, tuple[tuple[int, str], ...]] | None = None  # what ~/label_info said last

    def publish_results(self, result: FrameResult, header: Header, *, with_masks: bool, threshold: float) -> Masks:
        """Publish objects, detections, label image, annotations and label info of a frame.

        Args:
            result: What the stream found.
            header: The input image's header; every message carries it unchanged.
            with_masks: Whether `~/objects` holds the masks.
            threshold: The mask threshold (logit), for the label info.

        Returns:
            The result on the host, for the overlay.
        """
        masks = Masks.of(result)
        self._objects.publish(objects_message(masks, header, with_masks=with_masks))
        if self._detections.get_subscription_count():
            self._detections.publish(detections_message(masks, header))
        if self._label_image.get_subscription_count():
            self._label_image.publish(label_image_message(masks, header))
        if self._annotations is not None and self._annotations.get_subscription_count():
            self._annotations.publish(annotations_message(masks, header))
        described = (threshold, tuple(zip(result.object_ids, result.labels, strict=True)))
        if described != self._described:
            self._described = described
            self._label_info.publish(label_info_message(described[1], header, threshold))
        return masks

    def publish_overlay(self, image: NDArray[np.uint8], masks: Masks, header: Header) -> None:
        """Publish the image (uint8 RGB (H, W, 3)) with the results drawn over it, if anybody wants to see it."""
        if self._overlay.get_subscription_count():
            self._overlay.publish(array_to_image(draw_overlay(image, masks), "bgr8", header))
