"""The demo's third process: prompts the tracker through its service, and measures what comes out."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sam_msgs.msg import LabeledPoint, TrackedObjectArray
from sam_msgs.srv import AddPrompt, DetectConcept, FollowConcept
from sensor_msgs.msg import Image

from sam_ros.conversions.stamps import nanoseconds, stamp_of
from sam_ros.demo.evaluation.scoreboard import Scoreboard
from sam_ros.demo.selection import Selection

__all__ = ["NoAnswerError", "Observer"]

T = TypeVar("T")
QOS = QoSProfile(depth=30)
IMAGE_QOS = QoSProfile(depth=5)  # an observer that cannot keep up misses images rather than falling behind
CAMERA_QOS = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.BEST_EFFORT)
PATIENCE = 0.05  # s; always the same, because rclpy serves all topics in turn only as long as it is
CLEARANCE = 12  # px around an object that is to be clicked, free of others
KEPT = 120  # truths and label images that may wait for their companion


class NoAnswerError(RuntimeError):
    """Say what did not come in time."""


class Observer(Node):
    """Watch a camera and a tracker.

    Args:
        keep: Called with each overlay (uint8 BGR (H, W, 3)) from the stamp `record_from` on, and its stamp in ns.
        names: Names of the scene's objects 1, 2, ...; empty where no truth is known.
        go_on: Called again and again; raises when the demo cannot or must not go on.
    """

    def __init__(
        self, keep: Callable[[NDArray[np.uint8], int], None], names: Sequence[str], go_on: Callable[[], None]
    ) -> None:
        super().__init__("demo")
        self._keep = keep
        self._go_on = go_on
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self.names = names
        self.record_from: int | None = None  # stamp in ns of the first image to keep; None: none yet
        self.numbers: dict[int, int] = {}  # object id -> number in the truth
        self.ious: dict[int, list[float]] = {}  # object id -> IoU of each frame
        self.board: Scoreboard | None = None  # of what is followed by word
        self.newest: TrackedObjectArray | None = None
        self.size: tuple[int, int] | None = None  # (H, W) of the newest overlay
        self.arrivals: list[float] = []  # monotonic s of each result
        self.latencies: list[float] = []  # s from stamp to here
        self.diagnostics: dict[str, str] = {}
        self._truths: dict[int, NDArray[np.uint8]] = {}
        self._labels: dict[int, NDArray[np.uint16]] = {}
        self.create_subscription(TrackedObjectArray, "tracker/objects", self._on_objects, QOS)
        self.create_subscription(Image, "tracker/overlay", self._on_overlay, IMAGE_QOS)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QOS)
        if names:
            self.create_subscription(Image, "tracker/label_image", self._on_label_image, IMAGE_QOS)
            self.create_subscription(Image, "camera/truth", self._on_truth, IMAGE_QOS)
        self._add_prompt = self.create_client(AddPrompt, "tracker/add_prompt")

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.destroy_node()

    # --- What comes in ------------------------------------------------------------------------------------------------

    def _on_objects(self, message: TrackedObjectArray) -> None:
        self.newest = message
        self.arrivals.append(time.monotonic())
        self.latencies.append((self.get_clock().now().nanoseconds - stamp_of(message.header)) * 1e-9)

    def _on_overlay(self, message: Image) -> None:
        image = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        self.size = (message.height, message.width)
        stamp = stamp_of(message.header)
        if self.record_from is not None and stamp >= self.record_from:
            self._keep(image, stamp)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith("tracker: tracking"):
                self.diagnostics = {item.key: item.value for item in status.values}

    def _on_truth(self, message: Image) -> None:
        truth = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
        self._meet(self._truths, stamp_of(message.header), truth)

    def _on_label_image(self, message: Image) -> None:
        labels = np.frombuffer(message.data, np.uint16).reshape(message.height, message.width)
        self._meet(self._labels, stamp_of(message.header), labels)

    def _meet(self, store: dict[int, NDArray[T]], stamp: int, image: NDArray[T]) -> None:  # type: ignore[type-var]
        """Keep an image; once truth and label image of a stamp are here, compare them."""
        store[stamp] = image
        while len(store) > KEPT:
            del store[next(iter(store))]
        labels = self._labels.get(stamp)
        if labels is None or stamp not in self._truths:
            return
        del self._labels[stamp]  # the truth stays, for prompts
        truth = self._truths[stamp]
        if self.board is not None:
            self.board.add(stamp, truth, labels)
        for object_id, number in self.numbers.items():
            ours, real = labels == object_id, truth == number
            union = np.count_nonzero(ours | real)
            if union and object_id in (item.id for item in (self.newest.objects if self.newest else ())):
                self.ious.setdefault(object_id, []).append(np.count_nonzero(ours & real) / union)

    # --- What goes out ------------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], T | None], what: str, timeout: float = 120.0) -> T:
        """Spin until a condition gives something.

        Raises:
            NoAnswerError: It did not within `timeout` s.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            self._go_on()
            self._executor.spin_once(timeout_sec=PATIENCE)
        raise NoAnswerError(f"waited {timeout:.0f} s for {what}")

    def spin_for(self, seconds: float) -> None:
        """Receive for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._go_on()
            self._executor.spin_once(timeout_sec=PATIENCE)

    def result_of_all(self) -> TrackedObjectArray | None:
        """Return the newest result if every object that was prompted is in it."""
        shown = {item.id for item in self.newest.objects} if self.newest is not None else set()
        return self.newest if self.numbers.keys() <= shown else None

    def truth_of(self, stamp: int) -> NDArray[np.uint8]:
        """Return the truth of an image of the last seconds, (H, W).

        Raises:
            NoAnswerError: It did not come.
        """
        self.until(lambda: stamp in self._truths, "the truth of an image")
        return self._truths[stamp]

    def prompt_scene(self) -> None:
        """Click each of the scene's objects once, in the middle of where it is in the newest processed image."""
        for number, name in enumerate(self.names, start=1):
            point = self.until(partial(self._middle, number), f"the sight of {name}")
            # The click names its image by the stamp: should another have been processed meanwhile, it is still right.
            assert self.newest is not None
            self.numbers[self.prompt(Selection(name, points=(point,)), self.newest)] = number

    def _middle(self, number: int) -> tuple[float, float] | None:
        """Return the point (x, y) px of an object that is farthest from its edge; None while others are close."""
        truth = self._truths.get(stamp_of(self.newest.header)) if self.newest is not None else None
        if truth is None:
            return None
        own = (truth == number).astype(np.uint8)
        around = cv2.dilate(own, np.ones((2 * CLEARANCE + 1, 2 * CLEARANCE + 1), np.uint8)) > 0
        if not np.isin(truth[around], (0, number)).all():
            return None
        depth = cv2.distanceTransform(own, cv2.DIST_L2, 3)
        _, deepest, _, (x, y) = cv2.minMaxLoc(depth)
        return (float(x), float(y)) if deepest > 3.0 else None

    def prompt(self, selection: Selection, seen: TrackedObjectArray) -> int:
        """Start an object and return its id.

        Args:
            selection: Where it is, and what to call it.
            seen: Result of the image in which it is there.

        Raises:
            NoAnswerError: The tracker did not answer, or refused.
        """
        request = AddPrompt.Request(label=selection.label, stamp=seen.header.stamp, box=selection.box)
        request.points = [LabeledPoint(x=x, y=y, label=LabeledPoint.POSITIVE) for x, y in selection.points]
        self.until(self._add_prompt.service_is_ready, "the tracker's add_prompt service")
        future = self._add_prompt.call_async(request)
        self.until(future.done, "the answer of add_prompt")
        answer = future.result()
        if not answer.success:
            raise NoAnswerError(f"the tracker refused the prompt '{selection.label}': {answer.message}")
        return int(answer.object_id)

    def follow(self, phrase: str, score: float, period: float = 1.0) -> None:
        """Let the tracker look for a concept again and again, and track what it finds.

        Args:
            phrase: What to look for.
            score: Score above which an instance counts, 0 to 1.
            period: Time between two detections, s.

        Raises:
            NoAnswerError: The tracker did not answer, or refused.
        """
        request = FollowConcept.Request(phrase=phrase, period=period, score_threshold=score, new_score=score)
        client = self.create_client(FollowConcept, "tracker/follow_concept")
        self.until(client.service_is_ready, "the tracker's follow_concept service")
        future = client.call_async(request)
        self.until(future.done, "the answer of follow_concept")
        answer = future.result()
        if not answer.success:
            raise NoAnswerError(f"the tracker refused to follow: {answer.message}")

    def detect(self, phrase: str, score_threshold: float, max_instances: int) -> tuple[Any, NDArray[np.uint8] | None]:
        """Search the newest image for a concept.

        Args:
            phrase: What to look for.
            score_threshold: Instances must score above it, 0 to 1.
            max_instances: Most instances; 0 for no limit.

        Returns:
            The service's answer, and the image that was searched (uint8 BGR (H, W, 3)); None if it did not come here.

        Raises:
            NoAnswerError: The tracker did not answer, or refused.
        """
        images: OrderedDict[int, Image] = OrderedDict()

        def keep(message: Image) -> None:
            images[stamp_of(message.header)] = message
            while len(images) > KEPT:
                images.popitem(last=False)

        subscription = self.create_subscription(Image, "image", keep, CAMERA_QOS)
        self.until(lambda: self.newest and stamp_of(self.newest.header) in images, "an image of the camera")
        assert self.newest is not None
        request = DetectConcept.Request(phrases=[phrase], stamp=self.newest.header.stamp)
        request.score_threshold, request.max_instances, request.or_newest = score_threshold, max_instances, True
        client = self.create_client(DetectConcept, "tracker/detect_concept")
        self.until(client.service_is_ready, "the tracker's detect_concept service")
        future = client.call_async(request)
        self.until(future.done, "the answer of detect_concept")
        self.destroy_subscription(subscription)
        answer = future.result()
        if not answer.success:
            raise NoAnswerError(f"the tracker refused the detection: {answer.message}")
        seen = images.get(nanoseconds(answer.stamp))
        if seen is None or seen.encoding != "bgr8":
            return answer, None
        return answer, np.frombuffer(seen.data, np.uint8).reshape(seen.height, seen.width, 3)

    # --- What it amounts to -------------------------------------------------------------------------------------------

    def live_line(self, seconds: float) -> str:
        """Describe the last `seconds` in one line."""
        now = time.monotonic()
        recent = sum(when > now - seconds for when in self.arrivals)
        latencies = self.latencies[-recent:] if recent else []
        latency = f"{np.median(latencies) * 1e3:6.1f} ms" if latencies else "     - ms"
        objects = len(self.newest.objects) if self.newest is not None else 0
        line = f"{recent / seconds:5.1f} fps | latency {latency} | {objects} objects"
        if self.ious:
            scores = (
                f"{self.names[self.numbers[i] - 1]} {np.mean(ious[-max(recent, 1) :]):.2f}"
                for i, ious in self.ious.items()
            )
            line += " | IoU " + ", ".join(scores)
        return line

    def summary(self) -> list[str]:
        """Describe the whole run, one line a fact."""
        lines = [f"frames tracked: {len(self.arrivals)}"]
        if len(self.arrivals) > 1:
            rate = (len(self.arrivals) - 1) / (self.arrivals[-1] - self.arrivals[0])
            lines[0] += f", {rate:.1f} per second"
        if self.latencies:
            p50, p99 = np.percentile(self.latencies, (50, 99)) * 1e3
            lines.append(f"latency from the image's stamp to a subscriber: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        for key in ("latency without model p50 / p99 [ms]", "model time p50 / p99 [ms]"):
            if key in self.diagnostics:
                lines.append(f"{key}: {self.diagnostics[key]}")
        drops = {
            key: value for key, value in self.diagnostics.items() if key.startswith("images dropped") and value != "0"
        }
        lines += [f"{key}: {value}" for key, value in drops.items()]
        for object_id, ious in self.ious.items():
            name = self.names[self.numbers[object_id] - 1]
            lines.append(f"mean IoU with the truth, {name}: {np.mean(ious):.3f} over {len(ious)} frames")
        return lines
