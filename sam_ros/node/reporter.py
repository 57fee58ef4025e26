"""Publish the tracker's diagnostics once a second, in every state."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from sam_ros.node.condition import Condition, Facts
from sam_ros.node.diagnostics import diagnostic_array, diagnostic_status
from sam_ros.node.parameters import TrackerParameters
from sam_ros.tracking.statistics import Statistics

__all__ = ["Reporter"]

PERIOD = 1.0  # s


class Reporter:
    """Judge and publish the node's condition on `/diagnostics`.

    Args:
        node: Whose timer and publisher these are.
        statistics: The counts.
        condition: Returns what else the node knows.
        parameters: Returns what the user expects.
    """

    def __init__(
        self,
        node: Node,
        statistics: Statistics,
        *,
        condition: Callable[[], Condition],
        parameters: Callable[[], TrackerParameters],
    ) -> None:
        self._node = node
        self._statistics = statistics
        self._condition = condition
        self._parameters = parameters
        self._reported = statistics.snapshot()
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady time: a paused simulation must not silence the diagnostics.
        node.create_timer(PERIOD, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _report(self) -> None:
        snapshot = self._statistics.snapshot()
        facts = Facts(snapshot, self._reported, self._condition(), self._parameters())
        self._reported = snapshot
        status = diagnostic_status(self._node.get_fully_qualified_name(), facts)
        self._publisher.publish(diagnostic_array(status, self._node.get_clock().now().nanoseconds))
