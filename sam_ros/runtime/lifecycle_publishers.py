"""Publishers that a lifecycle node has from configure to cleanup."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

__all__ = ["LifecyclePublishers"]


class LifecyclePublishers:
    """Create publishers that the node's lifecycle switches on and off, and remove them together.

    Args:
        node: The node.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._publishers: list[Any] = []

    def _create(self, message_type: type, topic: str, qos: QoSProfile, *, overridable: bool = True) -> Any:
        """Create a publisher; `overridable`: whether `qos_overrides.*` parameters may change its QoS."""
        options = QoSOverridingOptions.with_default_policies() if overridable else None
        publisher = self._node.create_lifecycle_publisher(message_type, topic, qos, qos_overriding_options=options)
        self._publishers.append(publisher)
        return publisher

    def destroy(self) -> None:
        """Remove the publishers from the node."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()
