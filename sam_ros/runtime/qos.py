"""Quality of service of the nodes' services."""

from __future__ import annotations

from rclpy.qos import QoSProfile, QoSReliabilityPolicy

__all__ = ["SERVICE_QOS"]

# Requests beyond the depth are lost without a word to the client, so it is deeper than the default of 10.
SERVICE_QOS = QoSProfile(depth=200, reliability=QoSReliabilityPolicy.RELIABLE)
