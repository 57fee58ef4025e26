"""The tracker's life: states, transitions, errors, signals, and what is left of it."""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from sam_core import Stream
from sam_core.sam2 import Sam2
from sam_ros.node.tracker_node import TrackerNode
from sam_ros.runtime.processes import Executable
from sam_ros.tracking.work_queue import StoppedError

Picture = Callable[..., np.ndarray]


class Life:
    """A tracker of its own that is led through its states."""

    def __init__(self, process: Executable, client: Any) -> None:
        self.process = process
        self.client = client

    def change(self, transition: int) -> bool:
        request = Transition(id=transition)
        return bool(self.client.call(ChangeState, f"{self.client.tracker}/change_state", transition=request).success)

    def state(self) -> str:
        return str(self.client.call(GetState, f"{self.client.tracker}/get_state").current_state.label)


@pytest.fixture
def live(make_process: Callable[..., Executable], make_client: Callable[..., Any]) -> Callable[[dict[str, Any]], Life]:
    def start(parameters: dict[str, Any]) -> Life:
        # Another name and another image topic than the shared tracker has.
        process = make_process("tracker", parameters, remappings={"__node": "other", "image": "/other/image"})
        client = make_client("/other", image="/other/image")
        return Life(process, client)

    return start


def test_a_whole_life(live: Callable[[dict[str, Any]], Life], picture: Picture, micro: dict[str, Any]) -> None:
    life = live({**micro, "qos_overrides./other/image.subscription.reliability": "reliable"})
    client = life.client
    assert life.state() == "unconfigured"
    answer = client.prompt((40, 45))
    assert not answer.success
    assert answer.message == "the tracker is unconfigured; configure and activate it first"
    assert not client.list().success
    assert not life.change(Transition.TRANSITION_ACTIVATE), "not before it is configured"

    client.until(lambda: client.message == "unconfigured", "the state in the diagnostics")

    assert life.change(Transition.TRANSITION_CONFIGURE)
    assert life.state() == "inactive"
    client.until(lambda: client.message == "inactive", "the state in the diagnostics")
    assert client.list().objects == []
    answer = client.prompt((40, 45))
    assert not answer.success
    assert answer.message == "the tracker is inactive; activate it first"

    assert life.change(Transition.TRANSITION_ACTIVATE)
    assert life.state() == "active"
    answer = client.prompt((40, 45))
    assert not answer.success
    assert "no frame yet" in answer.message, "a prompt before any frame"
    client.until(lambda: client.level == b"\x01", "a warning that no images come")
    assert "no image on /other/image" in client.message

    client.track(picture(0))
    object_id = client.prompt((40, 45), label="square").object_id
    assert client.track(picture(1)).objects[0].id == object_id

    # Inactive: no work, but nothing is forgotten.
    assert life.change(Transition.TRANSITION_DEACTIVATE)
    assert life.state() == "inactive"
    assert client.images.get_subscription_count() == 0 or client.until(
        lambda: client.images.get_subscription_count() == 0, "the end of the subscription"
    )
    assert [item.label for item in client.list().objects] == ["square"]
    assert life.change(Transition.TRANSITION_ACTIVATE)
    assert [item.id for item in client.track(picture(2)).objects] == [object_id]

    # Unconfigured and back: a new stream.
    assert life.change(Transition.TRANSITION_DEACTIVATE)
    assert life.change(Transition.TRANSITION_CLEANUP)
    assert life.state() == "unconfigured"
    assert not client.list().success
    assert life.change(Transition.TRANSITION_CONFIGURE)
    assert life.change(Transition.TRANSITION_ACTIVATE)
    result = client.track(picture(3))
    assert result.objects == []
    assert result.sequence == 0

    assert life.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert life.state() == "finalized"
    assert client.list().message == "the tracker was shut down; start its process again"
    client.until(lambda: client.message == "finalized", "the state in the diagnostics")
    assert life.process.stop() == 0


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"model": "sam9"}, "'sam9'"),
        ({"checkpoint": "/does/not/exist.pt"}, "/does/not/exist.pt"),
        ({"overrides": ["model.no_such_key=1"]}, "no_such_key"),
        ({"device": "teapot"}, "'teapot' is no device"),
    ],
)
def test_a_tracker_that_cannot_be_configured_says_why_and_stays_unconfigured(
    ros: None, parameters: dict[str, Any], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    node = make_node(**parameters)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert node._state_machine.current_state[1] == "unconfigured"
        assert text in capfd.readouterr().err
        assert text in node._statistics.snapshot().last_error, "and diagnostics tell it too"
    finally:
        node.destroy_node()


def make_node(**parameters: Any) -> TrackerNode:
    values = {"model": "sam2.1_micro", "device": "cpu", "cpu_threads": 1, **parameters}
    return TrackerNode("here", parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])


def living(kind: type, but: Sequence[weakref.ref[Any]] = ()) -> list[weakref.ref[Any]]:
    """Return all things of a kind that are alive, but those of an earlier count."""
    gc.collect()
    known = [id(ref()) for ref in but]
    return [weakref.ref(thing) for thing in gc.get_objects() if type(thing) is kind and id(thing) not in known]


@pytest.mark.parametrize("end", ["cleanup", "shutdown", "destroy"])
def test_nothing_of_the_model_is_left(ros: None, end: str) -> None:
    before = living(Sam2), living(Stream)
    node = make_node()
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        models, streams = living(Sam2, before[0]), living(Stream, before[1])
        weights = [weakref.ref(parameter) for ref in models for parameter in ref().parameters()]
        assert (len(models), len(streams)) == (1, 1)
        assert weights
        if end == "cleanup":
            assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
            assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
        elif end == "shutdown":
            assert node.trigger_shutdown() == TransitionCallbackReturn.SUCCESS
        else:
            node.destroy_node()
        assert [ref for ref in (*models, *streams, *weights) if ref() is not None] == []
    finally:
        node.destroy_node()


def test_an_unexpected_error_ends_in_a_clean_unconfigured_state(ros: None, monkeypatch: pytest.MonkeyPatch) -> None:
    before = living(Sam2)
    node = make_node()
    try:
        with monkeypatch.context() as patch:

            def fail(*_: Any, **__: Any) -> None:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")

            patch.setattr("sam_ros.node.tracker_node.Publishers", fail)  # after the model was built
            assert node.trigger_configure() == TransitionCallbackReturn.ERROR
        assert node._state_machine.current_state[1] == "unconfigured"
        assert living(Sam2, before) == []
        assert "out of memory" in node._statistics.snapshot().last_error
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS, "and it can be tried again"
    finally:
        node.destroy_node()


def test_transitions_do_not_wait_for_ever(ros: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a driver hangs: the work at hand does not end."""
    monkeypatch.setattr("sam_ros.node.tracker_node.STOP_TIMEOUT", 0.2)
    gate = threading.Event()
    node = make_node()
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        inference = node._inference
        held = inference.submit(lambda _: gate.wait(60.0))
        queued = inference.submit(lambda _: None)
        started = time.monotonic()
        assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
        assert "one frame or command for more than 0.2 s" in node._statistics.snapshot().last_error
        assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
        assert time.monotonic() - started < 30.0
        assert "did not end within 0.2 s" in node._statistics.snapshot().last_error
        with pytest.raises(StoppedError):
            queued.result(0.0)
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS, "and a new stream can begin"
        gate.set()
        assert held.result(60.0)
        assert inference.stop(60.0)
    finally:
        gate.set()
        node.destroy_node()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["tracker", "camera"])
def test_a_signal_ends_a_working_process_with_code_0(
    make_process: Callable[..., Executable],
    make_client: Callable[..., Any],
    micro: dict[str, Any],
    name: str,
    how: signal.Signals,
) -> None:
    space = f"/signal_{name}_{how.name.lower()}"
    camera = make_process("camera", {"width": 160, "height": 120}, remappings={"__ns": space})
    tracker = make_process("tracker", {**micro, "autostart": True}, remappings={"__ns": space})
    client = make_client(f"{space}/tracker", image=f"{space}/image")
    client.until(lambda: len(client.order) > 2, "results")
    process = camera if name == "camera" else tracker
    assert process.stop(how) == 0, process.output()
    assert "Traceback" not in process.output()
    assert "[ERROR]" not in process.output()


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("tracker", {"max_objects": 0}, "max_objects"),
        ("tracker", {"image_transport": "pigeon"}, "must be one of raw, compressed"),
        ("tracker", {"overlaps": "share"}, "overlaps is 'share', but must be one of '', keep, look"),
        ("tracker", {"non_overlap": "share"}, "non_overlap is 'share', but must be one of '', none, highest_score"),
        ("tracker", {"mask_refinement": "sharp"}, "mask_refinement is 'sharp', but must be one of '', none, guided"),
        ("tracker", {"click_augmentation": "x"}, "click_augmentation is 'x', but must be one of '', none, views"),
        ("tracker", {"memory_policy": "visible"}, "memory_policy is 'visible', but must be one of '', fifo, strided"),
        (
            "camera",
            {"source": "/does/not/exist"},
            "'/does/not/exist' is neither a scene (scene, twins, room) nor a video",
        ),
        ("camera", {"encoding": "rgb7"}, "encoding is 'rgb7', but must be one of bgr8"),
    ],
)
def test_a_wrong_parameter_ends_the_process_with_a_sentence(
    make_process: Callable[..., Executable], name: str, parameters: dict[str, Any], text: str
) -> None:
    process = make_process(name, parameters)
    assert process.wait() == 1
    assert text in process.output()
    assert "Traceback" not in process.output()
