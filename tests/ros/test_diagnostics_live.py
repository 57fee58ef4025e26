"""What a running node says of itself on `/diagnostics`, asked over DDS. `test_checks.py` has every finding as facts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sam_ros.conversions.stamps import to_time
from sam_ros.node.tracker_node import TrackerNode

TOPIC = "/watched/image"
Picture = Callable[..., np.ndarray]


class Watched:
    """A tracker that spins in a thread of this process, and its client."""

    def __init__(self, node: TrackerNode, client: Any) -> None:
        self.node = node
        self.client = client

    def set(self, **values: Any) -> None:
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        assert all(result.successful for result in self.node.set_parameters(parameters))

    def says(self, text: str, level: bytes, meanwhile: Callable[[], Any] = lambda: None) -> None:
        """Wait for a report that says something."""

        def said() -> bool:
            meanwhile()
            return text in self.client.message and self.client.level == level

        try:
            self.client.until(said, f"diagnostics with {text!r}", timeout=20.0)
        except TimeoutError as error:
            raise AssertionError(f"not {text!r}, but {self.client.level!r} {self.client.message!r}") from error


def start(client: Any, values: dict[str, Any], name: str = "watched") -> Iterator[Watched]:
    parameters = [Parameter(key, value=str(v) if key == "checkpoint" else v) for key, v in values.items()]
    node = TrackerNode(name, parameter_overrides=parameters, cli_args=["--ros-args", "-r", f"image:={TOPIC}"])
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    ended = threading.Event()

    def spin() -> None:
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin)
    thread.start()
    yield Watched(node, client)
    ended.set()
    thread.join()
    executor.remove_node(node)
    node.destroy_node()
    executor.shutdown()


@pytest.fixture(scope="module")
def watched(make_lasting_client: Callable[..., Any], micro: dict[str, Any]) -> Iterator[Watched]:
    """An active tracker that wants reliable images; before each test somebody publishes them, and all is well."""
    values = {**micro, f"qos_overrides.{TOPIC}.subscription.reliability": "reliable", "image_timeout": 0.5}
    watch = start(make_lasting_client("/watched", TOPIC), values)
    watched = next(watch)
    assert watched.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert watched.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    yield watched
    next(watch, None)


def well(watched: Watched, picture: Picture) -> Callable[[], int]:
    """Return what publishes an image with the time of this moment as its stamp."""
    client = watched.client

    def publish() -> int:
        now = client.node.get_clock().now().to_msg()
        return int(client.publish(picture(0), header=Header(stamp=now, frame_id="camera")))

    client.until(client.connected, "the subscription")
    watched.says("tracking 0 objects", DiagnosticStatus.OK, meanwhile=publish)
    return publish


def test_a_camera_that_stops_is_no_problem_of_quality_of_service(watched: Watched, picture: Picture) -> None:
    well(watched, picture)
    watched.says("the camera has stopped. Its publisher (/test_client_", DiagnosticStatus.WARN)
    assert "FASTDDS" not in watched.client.message


def test_two_cameras_on_one_topic(watched: Watched, picture: Picture) -> None:
    publish = well(watched, picture)
    second = watched.client.node.create_publisher(Image, TOPIC, 1)
    watched.says(f"2 publishers share {TOPIC} (/test_client_", DiagnosticStatus.WARN, meanwhile=publish)
    watched.client.node.destroy_publisher(second)


def test_images_out_of_order(watched: Watched, picture: Picture) -> None:
    stamp = well(watched, picture)()

    def late() -> None:
        watched.client.publish(picture(0), header=Header(stamp=to_time(stamp - 300_000_000)))

    watched.says("images dropped as older than their predecessor", DiagnosticStatus.WARN, meanwhile=late)


def test_stamps_of_another_clock(watched: Watched, picture: Picture) -> None:
    well(watched, picture)
    watched.says("s before they arrive: ", DiagnosticStatus.WARN, meanwhile=lambda: watched.client.publish(picture(0)))


def test_simulated_time_without_a_clock(watched: Watched, picture: Picture) -> None:
    publish = well(watched, picture)
    watched.set(use_sim_time=True)
    watched.says("use_sim_time is set, but no /clock has come", DiagnosticStatus.WARN, meanwhile=publish)
    assert "stamped" not in watched.client.message
    watched.set(use_sim_time=False)


def test_results_slower_than_expected(watched: Watched, picture: Picture) -> None:
    publish = well(watched, picture)
    snapshot = watched.node._statistics.snapshot

    def faster_than_it_can() -> None:
        for _ in range(5):
            publish()
        watched.set(expected_rate=max(1.0, snapshot().rate_in))

    watched.says("the model takes", DiagnosticStatus.WARN, meanwhile=faster_than_it_can)
    assert "results come at" in watched.client.message
    watched.set(expected_rate=0.0)


def test_a_frame_or_command_that_does_not_end(watched: Watched, picture: Picture) -> None:
    publish, gate = well(watched, picture), threading.Event()
    watched.set(result_timeout=0.2)
    inference = watched.node._inference
    assert inference is not None
    held = inference.submit(lambda _: gate.wait(60.0))
    try:
        watched.says("no result for", DiagnosticStatus.ERROR, meanwhile=publish)
        assert "the inference thread works on one frame or command" in watched.client.message
        assert float(watched.client.diagnostics["newest result [s ago]"]) > 0.2
    finally:
        gate.set()
        watched.set(result_timeout=10.0)
    assert held.result(60.0)
    well(watched, picture)


@contextmanager
def driver() -> Iterator[Node]:
    """Make a camera driver's node, a DDS participant of its own as in a process of its own."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("driver", context=context)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_a_topic_without_fitting_publishers(watched: Watched, picture: Picture) -> None:
    """Nobody, then another type, then another quality of service."""
    well(watched, picture)
    node, client = watched.client.node, watched.client
    elsewhere = node.create_publisher(Image, "/front/image_raw", 1)
    node.destroy_publisher(client.images)
    watched.says("nobody publishes it; sensor_msgs/msg/Image is published on ", DiagnosticStatus.WARN)
    assert "/front/image_raw" in client.message
    node.destroy_publisher(elsewhere)
    with driver() as other:  # a DDS participant knows one type of a topic
        other.create_publisher(CompressedImage, TOPIC, 1)
        watched.says("/driver publishes sensor_msgs/msg/CompressedImage there", DiagnosticStatus.WARN)
    assert watched.node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert watched.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    best_effort = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
    with driver() as other:
        other.create_publisher(Image, TOPIC, best_effort)
        watched.says("the quality of service of /driver does not fit: ", DiagnosticStatus.WARN)
    client.images = node.create_publisher(Image, TOPIC, 10)
    well(watched, picture)


def test_a_transition_or_a_detector_that_fails(make_client: Callable[..., Any], micro: dict[str, Any]) -> None:
    for values, text in (
        ({**micro, "checkpoint": "/does/not/exist.pt"}, "cannot configure: There is no checkpoint file"),
        ({**micro, "detector": "sam9"}, "cannot configure the detector: "),
    ):
        for failed in start(make_client("/failing", TOPIC), values, "failing"):
            assert failed.node.trigger_configure() == TransitionCallbackReturn.FAILURE
            failed.says(f"unconfigured, because a transition failed: {text}", DiagnosticStatus.ERROR)
