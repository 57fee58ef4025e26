"""The inference thread: takes the newest frame, tracks, hands the result on; runs commands between frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import Enum, auto
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rclpy.impl.rcutils_logger import RcutilsLogger

from sam_core import FrameResult, ImageError
from sam_core.streaming import FrameHistory, StreamReport
from sam_ros.conversions.stamps import stamp_of
from sam_ros.runtime.cuda_stream import own_stream
from sam_ros.runtime.errors import RefusedError
from sam_ros.tracking.mailbox import Mailbox
from sam_ros.tracking.session import Session
from sam_ros.tracking.statistics import DropCause, Statistics

__all__ = ["InferenceThread", "StoppedError"]

M = TypeVar("M")  # an image message
R = TypeVar("R")

CLOCK_RESTART = 10**9  # ns: a stamp that goes back farther is a clock that was set, or a recording that began anew
URGENT = -1  # priority of a CUDA stream, above that of every other
QUIET = 5.0  # s between two log lines of one kind


class StoppedError(RefusedError):
    """The inference thread stopped before it ran a command."""


class _Signal(Enum):
    FRAME = auto()
    STOP = auto()


@dataclass(frozen=True)
class _Command(Generic[R]):
    call: Callable[[Session], R]
    future: Future[R]

    def run(self, session: Session) -> None:
        try:
            self.future.set_result(self.call(session))
        except Exception as error:
            self.future.set_exception(error)


class InferenceThread(Generic[M]):
    """Own a session in a thread of its own.

    Frames come through a one-slot mailbox, commands through a queue. Both are announced in that queue, so the thread
    takes them in the order of their arrival, and a command sees every frame that came before it. No exception ends the
    thread: it is counted, remembered and logged, and the next frame is tried.

    Args:
        session: What the thread owns from now on.
        decode: From a message to an RGB array (H, W, 3), uint8; raises ImageError.
        deliver: Called in this thread with message, RGB array, result and the model's time in s.
        statistics: Where drops and errors are counted.
        logger: Where they are told.
        device: Where the model is; on a GPU the thread works in a stream that goes before a detector's.
    """

    def __init__(
        self,
        session: Session,
        *,
        decode: Callable[[M], NDArray[np.uint8]],
        deliver: Callable[[M, NDArray[np.uint8], FrameResult, float], None],
        statistics: Statistics,
        logger: RcutilsLogger,
        device: torch.device | None = None,
    ) -> None:
        self._decode = decode
        self._deliver = deliver
        self._statistics = statistics
        self._logger = logger
        self._device = device
        self._mailbox: Mailbox[M] = Mailbox()
        self._queue: SimpleQueue[_Command[Any] | _Signal] = SimpleQueue()
        self._report = session.stream.report()
        self._history = session.stream.history
        self._stopping = False
        self._submitting = threading.Lock()  # no command may enter the queue behind STOP: nobody would answer it
        self._thread = threading.Thread(target=self._run, args=(session,), name="inference", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """End the thread after the frame or command that it works on; commands still queued fail with StoppedError.

        Args:
            timeout: Seconds to wait for the end; None waits as long as it takes.

        Returns:
            Whether the thread has ended and thus let go of its session.
        """
        with self._submitting:
            self._stopping = True
            self._queue.put(_Signal.STOP)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def report(self) -> StreamReport:
        """What the stream held after the newest frame or command."""
        return self._report

    @property
    def history(self) -> FrameHistory:
        """The newest frames, after the newest frame or command."""
        return self._history

    def offer(self, message: M) -> None:
        """Hand over a frame; it replaces an unread one."""
        if self._mailbox.put(message) is None:
            self._queue.put(_Signal.FRAME)
        else:
            self._statistics.dropped(DropCause.REPLACED)

    def discard(self) -> None:
        """Throw away the unread frame, if there is one."""
        if self._mailbox.take() is not None:
            self._statistics.dropped(DropCause.INACTIVE)

    def submit(self, call: Callable[[Session], R]) -> Future[R]:
        """Queue a command and return its future result, which the inference thread completes."""
        command = _Command(call, Future())
        with self._submitting:
            if self._stopping:
                command.future.set_exception(StoppedError("the tracker was stopped"))
            else:
                self._queue.put(command)
        return command.future

    def _run(self, session: Session) -> None:
        with own_stream(self._device, priority=URGENT):
            while not self._stopping:
                item = self._queue.get()
                if isinstance(item, _Command):
                    item.run(session)
                elif item is _Signal.FRAME:
                    self._process_newest(session)
                self._report, self._history = session.stream.report(), session.stream.history
                del item  # a future holds its result: nothing of it stays behind while the thread waits
        self._history = replace(self._history, frames=())  # whoever holds the thread holds no frames
        while not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, _Command):
                item.future.set_exception(StoppedError("the tracker was stopped"))

    def _process_newest(self, session: Session) -> None:
        """Track the frame in the mailbox; whatever goes wrong with it is counted and does not leave this method."""
        message = self._mailbox.take()
        if message is None:
            return
        stamp = stamp_of(message.header)  # type: ignore[attr-defined]
        newest = session.stream.history.newest
        if newest is not None and 0 < newest.stamp - stamp < CLOCK_RESTART:
            self._statistics.dropped(DropCause.OUT_OF_ORDER)
            return
        try:
            image = self._decode(message)
            started = time.perf_counter()
            result = session.stream.step(image, stamp, message.header)  # type: ignore[attr-defined]
            if result.masks.is_cuda:  # not the whole device: a detection may run on it
                torch.cuda.current_stream(result.masks.device).synchronize()
            self._deliver(message, image, result, time.perf_counter() - started)
            if session.watch is not None:
                self._history = session.stream.history
                session.watch(session.stream)
        except ImageError as error:
            self._statistics.dropped(DropCause.BAD_IMAGE)
            self._statistics.error(f"unreadable image: {error}")
            self._logger.warning(f"image dropped: {error}", throttle_duration_sec=QUIET)
        except torch.cuda.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            self._failed(f"the device ran out of memory: {error}")
        except Exception as error:
            self._failed(f"{type(error).__name__}: {error}")

    def _failed(self, text: str) -> None:
        self._statistics.dropped(DropCause.ERROR)
        self._statistics.error(text)
        self._logger.error(f"frame dropped: {text}", throttle_duration_sec=QUIET)
