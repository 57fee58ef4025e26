"""A message that cannot be taken costs nothing else; the fault is injected where rclpy takes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from rclpy.node import Node
from std_msgs.msg import String

from sam_ros.runtime.executor import RecoveringExecutor

TIMEOUT = 60.0  # s; far more than anything here takes


class Faulty(RecoveringExecutor):
    """An executor for which the next messages are too large."""

    def __init__(self, faults: int) -> None:
        super().__init__()
        self.faults = faults

    def _take_subscription(self, sub: Any) -> Any:
        if self.faults:
            self.faults -= 1
            raise MemoryError("no memory for the message")
        return super()._take_subscription(sub)

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < end, "nothing comes any more"
            self.spin_once(timeout_sec=0.1)


@pytest.fixture
def node(ros: None) -> Iterator[Node]:
    node = rclpy.create_node("short_of_memory")
    yield node
    node.destroy_node()


def test_a_message_that_cannot_be_taken_costs_nothing_else(node: Node) -> None:
    texts: list[str] = []
    ticks: list[float] = []
    node.create_subscription(String, "texts", lambda message: texts.append(message.data), 10)
    publisher = node.create_publisher(String, "texts", 10)
    executor = Faulty(faults=2)
    executor.add_node(node)
    executor.until(publisher.get_subscription_count)
    publisher.publish(String(data="first"))
    for _ in range(2):
        with pytest.raises(MemoryError, match="no memory for the message"):
            executor.until(lambda: False)
    publisher.publish(String(data="second"))
    node.create_timer(0.01, lambda: ticks.append(time.monotonic()))
    executor.until(lambda: len(texts) == 2 and len(ticks) > 1)
    assert texts == ["first", "second"], "the first one stayed in the middleware, which never gave it away"


def test_an_entity_for_which_no_task_could_be_made_is_tried_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []
    node.create_timer(0.01, lambda: ticks.append(time.monotonic()))
    executor = Faulty(faults=0)
    executor.add_node(node)
    with monkeypatch.context() as short:
        short.setattr("rclpy.executors.Task", _no_memory)
        with pytest.raises(MemoryError):
            executor.until(lambda: False)
    assert ticks == []
    executor.until(lambda: len(ticks) > 1)


def _no_memory(*_: Any, **__: Any) -> Any:
    raise MemoryError
