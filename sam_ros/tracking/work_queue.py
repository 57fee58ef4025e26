"""What waits for the inference thread: the newest frame and the commands, taken in fair turns."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from sam_ros.runtime.errors import RefusedError
from sam_ros.tracking.session import Session

__all__ = ["BusyError", "Command", "Lane", "NewFrame", "StoppedError", "WorkQueue"]

M = TypeVar("M")  # an image message
R = TypeVar("R")


class BusyError(RefusedError):
    """Too many commands wait already."""


class StoppedError(RefusedError):
    """The inference thread stopped before it ran a command."""


class Lane(Enum):
    """Whose command it is. Commands of a lane keep their order; lanes take turns."""

    PROMPT = "prompts"  # changes objects, and may take as long as a frame
    QUERY = "queries"  # reads, and is done at once
    NODE = "commands of the node"  # the node's own: a few at a time, so never refused


@dataclass(frozen=True)
class NewFrame(Generic[M]):
    """The newest image message, and its place in the order of arrival."""

    message: M
    arrival: int


@dataclass(frozen=True)
class Command(Generic[R]):
    """A call that the inference thread makes, the future of its result, and its place in the order of arrival."""

    call: Callable[[Session], R]
    future: Future[R]
    arrival: int


class WorkQueue(Generic[M]):
    """Hold the newest frame and a bounded number of commands. Any thread may call any method.

    A newer frame replaces an unread one, so a tracker that is slower than its camera works on the newest frame and its
    latency stays bounded. A command follows every frame that came before it. Otherwise frames and commands alternate,
    and among lanes the one that was served longest ago comes first. So whatever waits, the next frame waits for one
    command, and a query for one frame and one command of each other lane.

    Args:
        capacity: Most commands of clients that may wait in a lane.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._changed = threading.Condition()
        self._arrivals = itertools.count()
        self._frame: NewFrame[M] | None = None
        self._lanes: dict[Lane, deque[Command[Any]]] = {lane: deque() for lane in Lane}
        self._turns = list(Lane)  # the lane that was served longest ago comes first
        self._command_was_last = False
        self._closed = False

    @property
    def has_frame(self) -> bool:
        """Whether a frame waits."""
        return self._frame is not None

    def offer(self, message: M) -> bool:
        """Store a frame; return whether it replaced an unread one, whose place in the order it takes."""
        with self._changed:
            replaced = self._frame
            self._frame = NewFrame(message, next(self._arrivals) if replaced is None else replaced.arrival)
            self._changed.notify()
        return replaced is not None

    def discard(self) -> bool:
        """Drop the unread frame; return whether there was one."""
        with self._changed:
            dropped, self._frame = self._frame, None
        return dropped is not None

    def put(self, call: Callable[[Session], R], lane: Lane) -> Future[R]:
        """Queue a command; return the future of its result.

        Raises:
            BusyError: The lane is full.
            StoppedError: The queue is closed.
        """
        with self._changed:
            waiting = self._lanes[lane]
            if self._closed:
                raise StoppedError("the tracker was stopped")
            if lane is not Lane.NODE and len(waiting) >= self._capacity:
                raise BusyError(
                    f"the tracker is busy: {len(waiting)} {lane.value} wait already, which is the most; ask again later"
                )
            command = Command(call, Future[R](), next(self._arrivals))
            waiting.append(command)
            self._changed.notify()
        return command.future

    def take(self) -> NewFrame[M] | Command[Any] | None:
        """Wait for something to do and return it; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                lane = next((lane for lane in self._turns if self._lanes[lane]), None)
                if self._frame is not None and (lane is None or self._goes_before(self._frame, lane)):
                    frame, self._frame = self._frame, None
                    self._command_was_last = False
                    return frame
                if lane is not None:
                    self._turns.remove(lane)
                    self._turns.append(lane)
                    self._command_was_last = True
                    return self._lanes[lane].popleft()
                self._changed.wait()
        return None

    def _goes_before(self, frame: NewFrame[M], lane: Lane) -> bool:
        return self._command_was_last or frame.arrival < self._lanes[lane][0].arrival

    def close(self) -> None:
        """End all waiting: `take` returns None, and commands that wait fail with StoppedError."""
        with self._changed:
            self._closed = True
            self._frame = None
            left = [command for waiting in self._lanes.values() for command in waiting]
            for waiting in self._lanes.values():
                waiting.clear()
            self._changed.notify()
        for command in left:
            command.future.set_exception(StoppedError("the tracker was stopped"))
