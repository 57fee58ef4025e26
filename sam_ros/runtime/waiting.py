"""Wait for what another thread completes: awaited in a service, or bounded in time."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

from rclpy.node import Node
from rclpy.task import Future as RosFuture

__all__ = ["ENDING_TIMEOUT", "STOP_TIMEOUT", "answer_of"]

STOP_TIMEOUT = 10.0  # s that a transition waits for a thread to end its work; a thread may hang in a driver for ever
ENDING_TIMEOUT = 1.5  # s that the end of the process waits for each thread: launch kills it after 5 s

R = TypeVar("R")


async def answer_of(node: Node, future: Future[R]) -> R:
    """Wait for a result without holding up the node's executor.

    Args:
        node: The node whose executor runs the caller.
        future: What another thread completes.

    Returns:
        The future's result, or raises its exception.
    """
    done: RosFuture = RosFuture()

    def wake(answer: Future[R]) -> None:
        done.set_result(answer)
        if node.executor is not None:
            node.executor.wake()

    future.add_done_callback(wake)
    answer: Future[R] = await done
    return answer.result()
