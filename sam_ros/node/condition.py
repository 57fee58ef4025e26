"""What the tracker's node knows of itself and of its image topic at the moment of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.subscription import Subscription

from sam_core.streaming import StreamReport
from sam_ros.detection.detector_manager import DetectorReport
from sam_ros.node.parameters import TrackerParameters
from sam_ros.tracking.statistics import DropCause, Snapshot

__all__ = ["Condition", "Facts", "ImageTopic", "Publisher", "look_at"]

MOST_TOPICS = 3  # that are named where nobody publishes the one that is expected


@dataclass(frozen=True)
class Publisher:
    """Who publishes on the image topic.

    Attributes:
        node: Full name of its node.
        kind: Type of its messages, e.g. "sensor_msgs/msg/Image".
        mismatch: Why its quality of service does not fit to ours; empty where it does.
    """

    node: str
    kind: str
    mismatch: str = ""


@dataclass(frozen=True)
class ImageTopic:
    """The topic that images are expected on.

    Attributes:
        name: Full name.
        kind: Type of the messages that are expected.
        publishers: Everybody who publishes on it, messages of other types included.
        elsewhere: Some topics that hold messages of that type, where nobody publishes on this one.
    """

    name: str
    kind: str
    publishers: tuple[Publisher, ...] = ()
    elsewhere: tuple[str, ...] = ()

    @property
    def fitting(self) -> tuple[Publisher, ...]:
        """Those that publish the type that is expected."""
        return tuple(publisher for publisher in self.publishers if publisher.kind == self.kind)


@dataclass(frozen=True)
class Condition:
    """What the node knows beyond its counts.

    Attributes:
        state: Lifecycle state, e.g. "active".
        paused: Whether `~/set_paused` holds the tracker.
        active: Seconds since images are expected: since activation; None where none are expected.
        topic: The image topic; looked at while images are expected.
        device: Torch device of the model; None before configure.
        stream: What the stream holds; None before configure.
        detector: What the concept detector does; None where there is none.
        failure: Why the newest transition failed; empty where it did not.
        working: Seconds since the inference thread began its frame or command; None while it waits for one.
        autosave: Why objects are not saved, or not brought back; empty where they are.
        clock: Whether the node's clock runs: simulated time stands still at 0 until `/clock` comes.
        held_back: Results that are held back (parameter `hold_back_frames`).
    """

    state: str
    paused: bool
    active: float | None
    topic: ImageTopic
    device: torch.device | None
    stream: StreamReport | None
    detector: DetectorReport | None = None
    failure: str = ""
    working: float | None = None
    autosave: str = ""
    clock: bool = True
    held_back: int = 0


@dataclass(frozen=True)
class Facts:
    """What a report is judged by.

    Attributes:
        snapshot: The counts now.
        previous: The counts at the last report.
        condition: What else the node knows.
        parameters: What the user expects.
    """

    snapshot: Snapshot
    previous: Snapshot
    condition: Condition
    parameters: TrackerParameters

    def new(self, cause: DropCause) -> int:
        """Return how many images were dropped for a cause since the last report."""
        return self.snapshot.drops[cause] - self.previous.drops[cause]

    @property
    def silence(self) -> float | None:
        """Seconds without an image, since activation at most; None where no image is expected."""
        return _age(self.condition.active, self.snapshot.since_last_image)

    @property
    def without_result(self) -> float | None:
        """Seconds without a result, since activation at most; None where none is expected."""
        return _age(self.condition.active, self.snapshot.since_last_result)

    @property
    def patience(self) -> float:
        """Seconds that a frame or command may take; infinite where the user does not care."""
        limit = self.parameters.result_timeout
        return max(limit, 3 * self.snapshot.model[1]) if limit else float("inf")  # NaN before the first frame is less


def _age(active: float | None, event: float | None) -> float | None:
    return active if active is None or event is None else min(active, event)


def look_at(node: Node, name: str, subscription: Subscription[Any]) -> ImageTopic:
    """Ask the graph who publishes on a topic, and how that fits to our subscription."""
    kind = f"sensor_msgs/msg/{subscription.msg_type.__name__}"
    publishers = []
    for end in node.get_publishers_info_by_topic(name):
        fits, reason = qos_check_compatible(end.qos_profile, subscription.qos_profile)
        mismatch = reason if fits == QoSCompatibility.ERROR else ""
        publishers.append(Publisher(f"{end.node_namespace.rstrip('/')}/{end.node_name}", end.topic_type, mismatch))
    elsewhere: tuple[str, ...] = ()
    if not publishers:
        topics = [topic for topic, kinds in node.get_topic_names_and_types() if kind in kinds and topic != name]
        elsewhere = tuple(topic for topic in topics if node.count_publishers(topic))[:MOST_TOPICS]
    return ImageTopic(name, kind, tuple(publishers), elsewhere)
