"""One tracker, seen through its topics and services."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import Future
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sam_msgs.msg import ObjectEvent, TrackedObjectArray
from sam_msgs.srv import (
    AddPrompt,
    DetectConcept,
    FollowConcept,
    LoadObjects,
    RemoveObject,
    RenameObject,
    SaveObjects,
    SegmentImage,
    UnfollowConcept,
)
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from sam_ros.console.ros.frames import FrameStore
from sam_ros.console.ros.health import Health, HealthHistory
from sam_ros.console.ros.tracks import ScoreHistory
from sam_ros.runtime.errors import RefusedError

__all__ = ["SERVICES", "TrackerLink"]

WATCHED = 6.0  # s after the last look until images and results are not received any more
KEPT_EVENTS = 200
IMAGE_QOS = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)  # the newest counts
RESULT_QOS = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.BEST_EFFORT)
EVENT_QOS = QoSProfile(depth=KEPT_EVENTS, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)  # those of before, too
IMAGE_TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}

SERVICES: dict[str, Any] = {
    "add_prompt": AddPrompt,
    "remove_object": RemoveObject,
    "rename_object": RenameObject,
    "segment_image": SegmentImage,
    "detect_concept": DetectConcept,
    "follow_concept": FollowConcept,
    "unfollow_concept": UnfollowConcept,
    "load_detector": Trigger,
    "save_objects": SaveObjects,
    "load_objects": LoadObjects,
    "reset": Trigger,
    "set_paused": SetBool,
    "change_state": ChangeState,
    "list_parameters": ListParameters,
    "describe_parameters": DescribeParameters,
    "get_parameters": GetParameters,
    "set_parameters": SetParameters,
}


class TrackerLink:
    """What the console knows of a tracker, and how it asks for something.

    Images and results are received only while somebody looks (`look`). The node's executor thread calls `refresh` and
    `add_report` and receives; any thread reads.

    Args:
        node: The console's node.
        name: Full name of the tracker's node, e.g. "/robot/tracker".
        image: Topic of the images; empty: the one that the tracker subscribes to.
        most_bytes: Memory for images and masks.

    Attributes:
        name: As above.
        frames: What browsers are shown.
        scores: Of the objects.
    """

    def __init__(self, node: Node, name: str, *, image: str, most_bytes: int) -> None:
        self.name = name
        self.frames = FrameStore(most_bytes)
        self.scores = ScoreHistory()
        self._node = node
        self._image = image
        self._health = HealthHistory()
        self._events: deque[ObjectEvent] = deque(maxlen=KEPT_EVENTS)
        self._looked = -WATCHED  # monotonic s
        self._topic = ("", "")  # name and type of the images that are received
        self._images: Any = None  # the subscriptions while somebody looks
        self._results: Any = None
        # From the beginning: a client that is asked the moment it is made loses the answer.
        self._clients = {short: node.create_client(kind, f"{name}/{short}") for short, kind in SERVICES.items()}
        self._event_subscription = node.create_subscription(ObjectEvent, f"{name}/events", self._on_event, EVENT_QOS)

    # --- What is known ------------------------------------------------------------------------------------------------

    @property
    def health(self) -> Health:
        """The newest report."""
        return self._health.health()

    @property
    def events(self) -> tuple[ObjectEvent, ...]:
        """The newest events, oldest first."""
        return tuple(self._events)

    @property
    def image_topic(self) -> str:
        """Where the images come from; empty while they are not received."""
        return self._topic[0]

    def offers(self, service: str) -> bool:
        """Return whether the tracker has a service."""
        return bool(self._clients[service].service_is_ready())

    def look(self) -> None:
        """Say that somebody looks at the images, now."""
        self._looked = time.monotonic()

    @property
    def watched(self) -> bool:
        """Whether somebody has looked lately."""
        return time.monotonic() - self._looked < WATCHED

    # --- The executor's thread ----------------------------------------------------------------------------------------

    def add_report(self, status: DiagnosticStatus) -> None:
        """Take a diagnostic report of this tracker."""
        self._health.add(status)

    def refresh(self) -> None:
        """Receive images and results if somebody looks, from where they are published now."""
        if not self.watched:
            self._leave()
            return
        topic = self._find_images()
        if topic[0] and topic != self._topic:
            if self._images is not None:
                self._node.destroy_subscription(self._images)
            self._topic = topic
            self._images = self._node.create_subscription(
                IMAGE_TYPES[topic[1]], topic[0], self.frames.add_image, IMAGE_QOS
            )
        if self._results is None:
            self._results = self._node.create_subscription(
                TrackedObjectArray, f"{self.name}/objects", self._on_result, RESULT_QOS
            )

    def close(self) -> None:
        """Leave the tracker: it is gone."""
        self._leave()
        self._node.destroy_subscription(self._event_subscription)
        for client in self._clients.values():
            self._node.destroy_client(client)

    def _on_event(self, message: ObjectEvent) -> None:
        self._events.append(message)

    def _on_result(self, message: TrackedObjectArray) -> None:
        self.scores.add(message)
        self.frames.add_result(message)

    def _leave(self) -> None:
        if self._results is None:
            return
        for subscription in filter(None, (self._images, self._results)):
            self._node.destroy_subscription(subscription)
        self._images = self._results = None
        self._topic = ("", "")
        self.frames.forget()

    def _find_images(self) -> tuple[str, str]:
        """Return name and type of the topic that the tracker gets its images from; empty where it has none."""
        if self._image:
            kind = "CompressedImage" if self._image.endswith("/compressed") else "Image"
            return self._image, f"sensor_msgs/msg/{kind}"
        namespace, _, name = self.name.rpartition("/")
        try:
            topics = self._node.get_subscriber_names_and_types_by_node(name, namespace or "/")
        except Exception:  # rclpy raises one of its own kinds where the node is not known (yet)
            return "", ""
        return next(((topic, kind) for topic, kinds in topics for kind in kinds if kind in IMAGE_TYPES), ("", ""))

    # --- The web's thread ---------------------------------------------------------------------------------------------

    async def call(self, service: str, request: Any, timeout: float = 15.0) -> Any:
        """Call a service of the tracker.

        Args:
            service: A name in `SERVICES`.
            request: Its request.
            timeout: Seconds to wait.

        Returns:
            The response.

        Raises:
            RefusedError: The tracker is not there, does not have the service, or did not answer in time.
        """
        client = self._clients[service]
        if not client.service_is_ready():
            reason = "does not offer" if self.health.present else "is not running, so there is no"
            raise RefusedError(f"{self.name} {reason} ~/{service}.")
        answer = client.call_async(request)
        done: Future[Any] = Future()
        answer.add_done_callback(lambda _: done.set_result(answer.result()) if not done.done() else None)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(done), timeout)
        except asyncio.TimeoutError:
            client.remove_pending_request(answer)
            raise RefusedError(f"{self.name} has not answered ~/{service} within {timeout:.0f} s.") from None
