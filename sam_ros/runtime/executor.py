"""An executor that goes on after a message could not be taken from the middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Task

__all__ = ["RecoveringExecutor"]

# What rclpy runs for something that is ready; None where there was nothing to take after all.
Work: TypeAlias = "Callable[[], Awaitable[None]] | None"


class RecoveringExecutor(SingleThreadedExecutor):
    """Give a callback group back where taking a message fails, as it does when memory is short.

    rclpy marks an entity and its callback group as busy, takes the message, and only then begins the block that ends
    both marks. Where taking raises, they stay: no timer, service or subscription of that group ever runs again, and
    the node is alive but silent. Here the error is raised within that block.
    """

    def _make_handler(self, entity: Any, node: Any, take_from_wait_list: Callable[[Any], Work]) -> Task[None]:
        def take(taken: Any) -> Work:
            try:
                return take_from_wait_list(taken)
            except Exception as error:
                return _raising(error)

        try:
            handler: Task[None] = super()._make_handler(entity, node, take)
        except MemoryError:
            entity._executor_event = False  # rclpy's mark: with it the entity is not waited for
            raise
        return handler


def _raising(error: Exception) -> Callable[[], Awaitable[None]]:
    async def fail() -> None:
        raise error

    return fail
