"""Requests that bring images or masks: what waits is bounded in bytes, not only in number."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sam_msgs.action import SegmentEverything
from sam_msgs.msg import ImagePrompt, LabeledPoint
from sam_msgs.srv import AddPrompt, DetectConcept, SegmentImage
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_ros.conversions.decoder import ImageDecoder
from sam_ros.conversions.encodings import array_to_image
from sam_ros.node.tracker_node import TrackerNode
from sam_ros.tracking.request_memory import RequestMemory, bytes_of
from sam_ros.tracking.work_queue import BusyError

SIDE = 300
MIB = 2**20
IMAGE = array_to_image(np.zeros((SIDE, SIDE, 3), np.uint8), "rgb8", Header())
MASK = array_to_image(np.full((SIDE, SIDE), 255, np.uint8), "mono8", Header())


def test_one_request_gets_what_it_needs_and_others_share_the_rest() -> None:
    memory = RequestMemory(100 * MIB)
    with memory.hold(150 * MIB) as alone:
        alone.add(50 * MIB)
        with pytest.raises(BusyError, match="ask again later"), memory.hold(MIB):
            pass
        with memory.hold(1000) as small:  # a click, or a question
            with pytest.raises(BusyError):
                small.add(MIB)
            assert memory.held == 200 * MIB + 1000
    with memory.hold(60 * MIB) as first, memory.hold(30 * MIB) as second:
        second.add(10 * MIB)
        with pytest.raises(BusyError):
            first.add(1)
        assert (first.size, second.size, memory.held) == (60 * MIB, 40 * MIB, 100 * MIB)
    assert memory.held == 0


def test_the_memory_of_a_message_is_that_of_its_data() -> None:
    assert SIDE * SIDE * 3 < bytes_of(SegmentImage.Request(image=IMAGE)) < SIDE * SIDE * 3 + 3000
    assert bytes_of(SegmentImage.Request(prompts=[ImagePrompt(mask=MASK)] * 5)) > 5 * SIDE * SIDE
    assert bytes_of(AddPrompt.Request(mask=MASK, label="x" * 5000)) > SIDE * SIDE + 5000
    assert bytes_of(AddPrompt.Request(points=[LabeledPoint()] * 10_000)) > 10_000 * 16
    assert bytes_of(DetectConcept.Request(phrases=["cup", *["x" * 1000] * 200])) > 200_000
    assert bytes_of(SegmentEverything.Goal(image=IMAGE)) > SIDE * SIDE * 3


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image(width=11, height=10), "11 x 10 px are more than 100"),
        (Image(width=1, height=1, data=bytes(801)), "801 bytes, and at most 800"),
        (Image(width=0, height=5), "no pixels"),
    ],
)
def test_an_image_is_refused_by_its_size_alone(image: Image, words: str) -> None:
    decode = ImageDecoder(max_pixels=100, warn=print)
    decode.check(Image(width=10, height=10, data=bytes(800)))
    with pytest.raises(Exception, match=words):
        decode.check(image)


class Waiting:
    """A tracker whose inference thread is held up, and requests to it."""

    def __init__(self) -> None:
        values = {"model": "sam2.1_micro", "device": "cpu", "cpu_threads": 1}
        self.node = TrackerNode("held_up", parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])
        assert self.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert self.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        self.gate = threading.Event()
        self.node._inference.submit(lambda _: self.gate.wait(60.0))

    def ask(self, service: Callable[..., Coroutine[Any, Any, Any]], kind: Any, **request: Any) -> Any:
        """Begin a request; return its answer, or its coroutine where it waits."""
        coroutine = service(kind.Request(**request), kind.Response())
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
        return coroutine

    def end(self, coroutine: Any) -> Any:
        give_up = time.monotonic() + 60.0
        while time.monotonic() < give_up:
            try:
                coroutine.send(None)
            except StopIteration as end:
                return end.value
            time.sleep(0.01)
        raise TimeoutError


@pytest.fixture
def waiting(ros: None) -> Iterator[Waiting]:
    tracker = Waiting()
    yield tracker
    tracker.gate.set()
    tracker.node.destroy_node()


def test_images_and_masks_that_wait_are_bounded_in_bytes(waiting: Waiting) -> None:
    memory = waiting.node._prompts.memory
    segment, add = waiting.node._still_images._segment._on_segment, waiting.node._prompts._on_add_prompt
    prompts = [ImagePrompt(points=[LabeledPoint(x=5.0, y=5.0, label=1)])]
    one = bytes_of(SegmentImage.Request(image=IMAGE, prompts=prompts))
    memory.limit = 4 * one

    huge = waiting.ask(segment, SegmentImage, prompts=prompts, image=Image(width=2**20, height=2**20))
    images = [waiting.ask(segment, SegmentImage, image=IMAGE, prompts=prompts) for _ in range(5)]
    masks = [waiting.ask(add, AddPrompt, mask=MASK) for _ in range(2)]

    assert "max_image_pixels" in huge.message, "at once, though the tracker is held up"
    assert [hasattr(item, "send") for item in images] == [True] * 4 + [False]
    assert "ask again later" in images[-1].message
    assert all("ask again later" in item.message for item in masks)
    memory.limit = 2**30  # what an answer takes counts, too, and this is not what is looked at here
    waiting.gate.set()
    answers = [waiting.end(item) for item in images[:4]]
    assert all(answer.success and len(answer.masks) == 1 for answer in answers)
    assert memory.held == 0
