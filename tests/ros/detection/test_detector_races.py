"""Services and transitions that meet while the detector is loaded: each gets an answer, and nothing is left behind.

The tests hold the loading, or the inference thread, at a gate, so that the order of things is theirs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.task import Future
from std_srvs.srv import Trigger

from sam_core.sam3 import ConceptDetector, build_detector
from sam_ros.detection import detector_manager
from sam_ros.detection.detector_manager import UNLOADED_MEANWHILE, DetectorManager
from sam_ros.node.tracker_node import TrackerNode
from sam_ros.runtime.waiting import ENDING_TIMEOUT
from tests.ros.detection.asking import make_node

TIMEOUT = 120.0  # s; far more than anything here takes


@dataclass(eq=False)
class Gate:
    """Where the loading of a detector waits."""

    entered: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)

    def build(self, *arguments: Any, **settings: Any) -> ConceptDetector:
        self.entered.set()
        assert self.open.wait(TIMEOUT)
        return build_detector(*arguments, **settings)


@dataclass(eq=False)
class Rig:
    """A configured node whose services the test calls and whose executor it turns."""

    node: TrackerNode
    executor: SingleThreadedExecutor
    gate: Gate

    @property
    def manager(self) -> DetectorManager:
        return self.node._detections._detector

    def call(self, service: Callable[..., Any]) -> Future:
        return self.executor.create_task(service, Trigger.Request(), Trigger.Response())

    def until(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < give_up
            self.executor.spin_once(timeout_sec=0.05)

    def answer(self, task: Future) -> Trigger.Response:
        self.until(task.done)
        return task.result()

    def loading(self) -> Future:
        """Call load_detector and return when the detector is being loaded."""
        task = self.call(self.manager._on_load)
        self.until(self.gate.entered.is_set)
        return task

    def in_background(self, call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(call()))
        thread.start()
        return thread, results


@pytest.fixture
def rig(ros: None, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Configure a node and unload its detector, so that the next one is loaded through the gate."""
    node, executor = make_node(weights), SingleThreadedExecutor()
    executor.add_node(node)
    rig = Rig(node, executor, Gate())
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert rig.answer(rig.call(rig.manager._on_unload)).success
        monkeypatch.setattr(detector_manager, "build_detector", rig.gate.build)
        yield rig
    finally:
        rig.gate.open.set()
        executor.remove_node(node)
        node.destroy_node()
        executor.shutdown()


def test_a_cleanup_while_the_detector_is_loaded_ends_it(rig: Rig) -> None:
    load = rig.loading()
    loading = rig.manager.now
    assert loading is not None
    cleanup, results = rig.in_background(rig.node.trigger_cleanup)
    rig.until(lambda: loading.thread.stopping)
    rig.gate.open.set()
    cleanup.join(TIMEOUT)
    assert results == [TransitionCallbackReturn.SUCCESS]
    answer = rig.answer(load)
    assert (answer.success, answer.message) == (False, UNLOADED_MEANWHILE)
    assert rig.manager.now is None
    assert loading.thread.join(TIMEOUT)


def test_a_cleanup_while_a_load_waits_for_the_frame_at_work(rig: Rig) -> None:
    """The load finds another node when its turn comes, which has a detector of its own, or none."""
    inference, held = rig.node._inference, threading.Event()
    assert inference is not None
    inference.submit(lambda _: held.wait(TIMEOUT))
    load = rig.call(rig.manager._on_load)
    rig.until(lambda: rig.manager._preparing)
    cleanup, results = rig.in_background(rig.node.trigger_cleanup)
    rig.until(lambda: rig.node._inference is None)
    held.set()
    cleanup.join(TIMEOUT)
    assert results == [TransitionCallbackReturn.SUCCESS]
    assert not rig.answer(load).success
    assert not rig.gate.entered.is_set(), "nothing is loaded"
    assert rig.manager.now is None
    rig.gate.open.set()
    assert rig.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert "loaded already" in rig.answer(rig.call(rig.manager._on_load)).message


def test_of_two_loads_at_once_one_loads(rig: Rig) -> None:
    inference, held = rig.node._inference, threading.Event()
    assert inference is not None
    inference.submit(lambda _: held.wait(TIMEOUT))
    first = rig.call(rig.manager._on_load)
    rig.until(lambda: rig.manager._preparing)
    assert "loaded already, or being loaded" in rig.answer(rig.call(rig.manager._on_load)).message
    held.set()
    rig.until(rig.gate.entered.is_set)
    assert "loaded already, or being loaded" in rig.answer(rig.call(rig.manager._on_load)).message
    assert rig.manager.report().state == "loading"
    rig.gate.open.set()
    assert rig.answer(first).success
    assert rig.manager.report().state == "idle"


def test_an_unload_while_the_detector_is_loaded_ends_it_and_it_can_be_loaded_again(rig: Rig) -> None:
    load = rig.loading()
    loading = rig.manager.now
    assert loading is not None
    unload = rig.call(rig.manager._on_unload)
    rig.until(lambda: loading.thread.stopping)
    rig.gate.open.set()
    assert rig.answer(unload).success
    rig.answer(load)  # it was loaded for a moment, or not at all
    assert rig.manager.report().state == "unloaded"
    assert loading.thread.join(TIMEOUT)
    assert rig.answer(rig.call(rig.manager._on_load)).success


def test_a_node_that_is_destroyed_while_its_detector_is_loaded_leaves_it_to_end_by_itself(rig: Rig) -> None:
    load = rig.loading()
    loading = rig.manager.now
    assert loading is not None
    began = time.monotonic()
    rig.node._release(ENDING_TIMEOUT)
    assert time.monotonic() - began >= ENDING_TIMEOUT, "it was waited for"
    assert rig.manager.now is None
    rig.gate.open.set()
    loading.thread.ended.result(TIMEOUT)
    answer = rig.answer(load)
    assert (answer.success, answer.message) == (False, UNLOADED_MEANWHILE)
    assert loading.thread.join(TIMEOUT)
