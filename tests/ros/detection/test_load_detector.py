"""~/load_detector and ~/unload_detector, and the detector's thread in the node's lifecycle."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn
from sam_msgs.srv import FollowConcept, UnfollowConcept
from std_srvs.srv import Trigger

from sam_core.sam3 import ConceptDetector, ConceptNetwork
from sam_ros.detection.detector_thread import DetectorBusyError
from tests.ros.detection.asking import detect, ids_of, make_node

Picture = Callable[..., np.ndarray]


def test_without_a_detector_the_answer_says_how_to_get_one(client: Any, picture: Picture) -> None:
    client.track(picture(0))
    for answer in (
        detect(client, "cup"),
        client.call(FollowConcept, "follow_concept", phrase="cup"),
        client.call(UnfollowConcept, "unfollow_concept", phrase="cup"),
        client.call(Trigger, "load_detector"),
    ):
        assert not answer.success
        assert "no detector is configured: start the node with the parameter 'detector'" in answer.message
    assert client.call(Trigger, "unload_detector").message == "no detector is loaded"
    client.until(lambda: client.diagnostics.get("detector") == "not configured", "the diagnostics")


def test_a_detector_is_unloaded_and_loaded_again(finder: Any, picture: Picture, weights: dict[str, Path]) -> None:
    finder.track(picture(0))
    tracked = ids_of(detect(finder, "cup", track=True).instances)
    assert finder.call(FollowConcept, "follow_concept", phrase="plate", period=1000.0, new_score=1.0).success
    assert finder.call(Trigger, "load_detector").message == "the detector is loaded already, or being loaded"
    answer = finder.call(Trigger, "unload_detector")
    assert (answer.success, answer.message) == (True, "no longer followed: 'plate'")
    finder.until(lambda: finder.diagnostics.get("detector") == "unloaded", "the diagnostics")
    assert detect(finder, "cup").message == "the detector is unloaded: call ~/load_detector first"
    assert {item.id for item in finder.track(picture(1)).objects} == set(tracked), "tracking goes on"
    weights["detector"].rename(elsewhere := weights["detector"].with_suffix(".away"))
    assert "no checkpoint file" in finder.call(Trigger, "load_detector").message
    finder.until(lambda: "the detector cannot be loaded: " in finder.message, "the diagnostics")
    assert finder.level == DiagnosticStatus.ERROR
    elsewhere.rename(weights["detector"])
    answer = finder.call(Trigger, "load_detector")
    assert answer.success, answer.message
    finder.until(lambda: "cannot be loaded" not in finder.message, "the diagnostics")
    assert "no image was processed yet" in detect(finder, "cup").message
    stamp = finder.track(picture(2)).header.stamp
    answer = detect(finder, "cup")
    assert answer.success, answer.message
    assert answer.stamp == stamp


def test_a_detection_at_work_is_broken_off_when_the_detector_is_unloaded(
    ros: None, weights: dict[str, Path], picture: Picture
) -> None:
    node = make_node(weights)
    working = threading.Event()

    def work_for_ever(network: ConceptDetector) -> None:
        while True:
            network.encode_image(picture(0))
            working.set()

    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        detector = node._detections._detector.now
        assert detector is not None
        running, waiting = detector.thread.submit(work_for_ever), detector.thread.submit(lambda _: None)
        assert working.wait(60.0)
        assert detector.thread.load == 2
        assert not detector.thread.join(0.0)
        assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
        assert str(running.exception(60.0)) == "the detector was unloaded during this detection"
        assert str(waiting.exception(60.0)) == "the detector was unloaded before this detection's turn came"
    finally:
        node.destroy_node()


def living_networks() -> list[weakref.ref[Any]]:
    gc.collect()
    return [weakref.ref(thing) for thing in gc.get_objects() if type(thing) is ConceptNetwork]


@pytest.mark.parametrize("end", ["cleanup", "destroy"])
def test_cleanup_frees_the_detector(ros: None, weights: dict[str, Path], end: str) -> None:
    before = len(living_networks())
    node = make_node(weights)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert len(living_networks()) == before + 1
        assert "detector" in [thread.name for thread in threading.enumerate()]
        if end == "cleanup":
            assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    finally:
        node.destroy_node()
    assert len(living_networks()) == before
    assert "detector" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"detector": "sam9"}, "no detector 'sam9'; known are sam3, sam3_nano, sam3_toy"),
        ({"detector_checkpoint": "/no/such/file.pt"}, "/no/such/file.pt"),
        ({"detector_device": "cuda:99"}, "cuda:99"),
        ({"detector_overrides": ["no_such.thing=1"]}, "no_such"),
    ],
)
def test_a_wrong_detector_is_refused_when_the_node_is_configured(
    ros: None, weights: dict[str, Path], wrong: dict[str, Any], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    node = make_node(weights, **wrong)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert text in capfd.readouterr().err
        assert "detector" not in [thread.name for thread in threading.enumerate()]
    finally:
        node.destroy_node()


def test_a_detector_without_a_queue_takes_one_call_at_a_time(ros: None, weights: dict[str, Path]) -> None:
    node = make_node(weights, detector_queue=0)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        detector = node._detections._detector.now
        assert detector is not None
        gate = threading.Event()
        held = detector.thread.submit(lambda _: gate.wait(60.0))
        with pytest.raises(DetectorBusyError, match="0 call"):
            detector.thread.submit(lambda _: None)
        gate.set()
        assert held.result(60.0)
        assert detector.thread.submit(lambda network: network.name).result(60.0) == "sam3_toy"
    finally:
        node.destroy_node()


def test_torch_threads_are_each_ones_own(ros: None, weights: dict[str, Path]) -> None:
    """The detector's number of threads is not that of the tracker, nor of threads to come."""
    mine = torch.get_num_threads()
    torch.set_num_threads(3)
    node = make_node(weights, cpu_threads=2, detector_cpu_threads=1)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node._inference is not None
        assert node._inference.submit(lambda _: torch.get_num_threads()).result() == 2
        detector = node._detections._detector.now
        assert detector is not None
        assert detector.thread.submit(lambda _: torch.get_num_threads()).result() == 1
        assert torch.get_num_threads() == 3
        counts: list[int] = []
        thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert counts == [3]
    finally:
        node.destroy_node()
        torch.set_num_threads(mine)
