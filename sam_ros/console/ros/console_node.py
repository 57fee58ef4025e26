"""The console's ROS node: finds trackers, keeps a link to each, and spins in a thread of its own."""

from __future__ import annotations

import threading
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from sam_ros.console.parameters import ConsoleParameters, declare_parameters
from sam_ros.console.ros.link import TrackerLink

__all__ = ["ConsoleNode", "RosThread"]

PERIOD = 0.5  # s between two looks at the graph
MOST_TRACKERS = 16
PROMPTABLE = "sam_msgs/srv/AddPrompt"
QUIET = 5.0  # s between two log lines about failed callbacks


class ConsoleNode(Node):
    """Find trackers by their `add_prompt` service, or take those that a parameter names.

    Args:
        **kwargs: Passed to `rclpy.node.Node`.

    Attributes:
        settings: The parameters.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("console", **kwargs)
        self.settings: ConsoleParameters = declare_parameters(self)
        self._links: dict[str, TrackerLink] = {}
        for name in self.settings.trackers:
            self._add(name)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 20)
        self.create_timer(PERIOD, self._refresh, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def links(self) -> dict[str, TrackerLink]:
        """The trackers by their names, those that are there first. A copy."""
        links = sorted(dict(self._links).items(), key=lambda entry: (not entry[1].health.present, entry[0]))
        return dict(links)

    def _add(self, name: str) -> None:
        if name in self._links:
            return
        if len(self._links) >= MOST_TRACKERS:
            self._forget_one()
        if len(self._links) < MOST_TRACKERS:
            most_bytes = self.settings.memory_mib * 2**20
            link = TrackerLink(self, name, image=self.settings.image, most_bytes=most_bytes)
            self._links = {**self._links, name: link}  # exchanged as a whole: other threads read it
            self.get_logger().info(f"tracker {name}")

    def _forget_one(self) -> None:
        """Give the place of a tracker that is gone, and that nobody looks at, to another."""
        gone = (name for name, link in self._links.items() if not (link.health.present or link.watched))
        name = next((name for name in gone if not self._links[name].offers("add_prompt")), None)
        if name is not None:
            self._links[name].close()
            self._links = {other: link for other, link in self._links.items() if other != name}

    def _refresh(self) -> None:
        if not self.settings.trackers:
            for service, kinds in self.get_service_names_and_types():
                if PROMPTABLE in kinds and service.endswith("/add_prompt"):
                    self._add(service.removesuffix("/add_prompt"))
        for link in self._links.values():
            link.refresh()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name, _, kind = status.name.rpartition(": ")
            if kind == "tracking" and name in self._links:
                self._links[name].add_report(status)


class RosThread:
    """Spin a node in a thread; leaving the context ends it.

    Args:
        node: The node; it is destroyed at the end.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="ros", daemon=True)

    def _spin(self) -> None:
        while not self._ended.is_set():
            try:
                self._executor.spin_once(timeout_sec=0.2)
            except ExternalShutdownException:
                return
            except Exception as error:  # a callback failed: the others go on
                if not rclpy.ok():
                    return
                text = f"a callback failed: {type(error).__name__}: {error}"
                self._node.get_logger().error(text, throttle_duration_sec=QUIET)

    def __enter__(self) -> RosThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(2.0)
        self._node.destroy_node()
