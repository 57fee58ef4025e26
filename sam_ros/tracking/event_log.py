"""What happened to objects: `~/events` as it happens, `~/list_events` for those who came late."""

from __future__ import annotations

import threading
from collections import deque

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sam_msgs.msg import ObjectEvent as EventMessage
from sam_msgs.srv import ListEvents

from sam_ros.conversions.events import event_message
from sam_ros.runtime.qos import SERVICE_QOS
from sam_ros.tracking.session import Session

__all__ = ["EventLog"]


class EventLog:
    """Number, publish and keep the events of the node's life, in every lifecycle state.

    Args:
        node: Where topic and service live.
        kept: Newest events that are kept, for late subscribers and for the service.
    """

    def __init__(self, node: LifecycleNode, kept: int) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._events: deque[EventMessage] = deque(maxlen=kept)
        self._sequence = 0
        # Not a lifecycle publisher: what happens to objects while the node is inactive must not be missed.
        self._publisher = node.create_publisher(
            EventMessage,
            "~/events",
            QoSProfile(
                depth=kept,
                reliability=QoSReliabilityPolicy.RELIABLE,
                durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
            ),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        node.create_service(ListEvents, "~/list_events", self._on_list, qos_profile=SERVICE_QOS)

    def tell(self, session: Session) -> None:
        """Publish what happened since the last call (inference thread)."""
        for event, header in session.take_events():
            with self._lock:
                self._sequence += 1
                message = event_message(event, header, self._sequence)
                self._events.append(message)
            if self._node.context.ok():  # otherwise a signal has come, and nobody listens any more
                self._publisher.publish(message)

    def _on_list(self, request: ListEvents.Request, response: ListEvents.Response) -> ListEvents.Response:
        with self._lock:
            response.events = [message for message in self._events if message.sequence > request.after]
        response.success = True
        return response
