"""The inference thread: takes the newest frame, tracks, hands the result on; runs commands between frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rclpy.impl.rcutils_logger import RcutilsLogger
from std_msgs.msg import Header

from sam_core import FrameResult, ImageError
from sam_core.association import ConceptResult, Delay
from sam_core.streaming import FrameHistory, StreamReport
from sam_ros.conversions.stamps import stamp_of
from sam_ros.runtime.cuda_stream import own_stream
from sam_ros.runtime.errors import RefusedError
from sam_ros.runtime.texts import legible
from sam_ros.tracking.session import Session
from sam_ros.tracking.stamp_order import Arrival, StampOrder
from sam_ros.tracking.statistics import DropCause, Statistics
from sam_ros.tracking.work_queue import Command, Lane, WorkQueue

__all__ = ["InferenceThread"]

M = TypeVar("M")  # an image message
R = TypeVar("R")

URGENT = -1  # priority of a CUDA stream, above that of every other
QUIET = 5.0  # s between two log lines of one kind
CAPACITY = 64  # commands of clients that may wait in each lane


@dataclass(frozen=True, eq=False)
class _Tracked(Generic[M]):
    """A frame whose result is ready.

    Attributes:
        message: The image's message.
        image: RGB array (H, W, 3), uint8.
        seconds: The model's time, s.
        ready: `time.perf_counter` when it was done.
    """

    message: M
    image: NDArray[np.uint8]
    seconds: float
    ready: float


class InferenceThread(Generic[M]):
    """Own a session in a thread of its own.

    Frames and commands come through a `WorkQueue`: bounded, in fair turns, and a command sees every frame that came
    before it. No exception ends the thread: it is counted, remembered and logged, and the next frame is tried.

    Args:
        session: What the thread owns from now on.
        decode: From a message to an RGB array (H, W, 3), uint8; raises ImageError.
        deliver: Called in this thread with message, RGB array, result, the model's time in s, and the time that the
            result was held back in s.
        statistics: Where drops and errors are counted.
        logger: Where they are told.
        tell: Called in this thread after each frame and command, and at the end: takes the session's events.
        device: Where the model is; on a GPU the thread works in a stream that goes before a detector's.
        capacity: Most commands of clients that may wait in a lane.
        hold_back: Results that are held back: each is delivered so many frames later, without objects that were
            withdrawn meanwhile.
    """

    def __init__(
        self,
        session: Session,
        *,
        decode: Callable[[M], NDArray[np.uint8]],
        deliver: Callable[[M, NDArray[np.uint8], FrameResult, float, float], None],
        statistics: Statistics,
        logger: RcutilsLogger,
        tell: Callable[[Session], None] | None = None,
        device: torch.device | None = None,
        capacity: int = CAPACITY,
        hold_back: int = 0,
    ) -> None:
        self._decode = decode
        self._deliver = deliver
        self._statistics = statistics
        self._logger = logger
        self._tell = tell
        self._device = device
        self._queue: WorkQueue[M] = WorkQueue(capacity)
        self._order = StampOrder()
        self._held: Delay[_Tracked[M]] = Delay(hold_back + 1)
        self._report = session.stream.report()
        self._history = session.stream.history
        self._stopping = False
        self._began: float | None = None  # monotonic s at which the frame or command at work began
        self._thread = threading.Thread(target=self._run, args=(session,), name="inference", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """End the thread after the frame or command that it works on; commands still queued fail with StoppedError.

        Args:
            timeout: Seconds to wait for the end; None waits as long as it takes.

        Returns:
            Whether the thread has ended and thus let go of its session. One that has not delivers no more results.
        """
        self._stopping = True
        self._queue.close()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._tell = None  # what it does from now on is nobody's business
            return False
        return True

    @property
    def working(self) -> float | None:
        """Seconds since the frame or command at work began; None while there is none."""
        began = self._began
        return None if began is None else time.monotonic() - began

    @property
    def report(self) -> StreamReport:
        """What the stream held after the newest frame or command."""
        return self._report

    @property
    def history(self) -> FrameHistory:
        """The newest frames, after the newest frame or command."""
        return self._history

    def offer(self, message: M) -> None:
        """Hand over a frame; it replaces an unread one, unless it comes late. One thread alone may call this."""
        stamp, before = stamp_of(message.header), self._order.newest  # type: ignore[attr-defined]
        arrival = self._order.judge(stamp)
        if arrival is Arrival.LATE:
            self._statistics.dropped(DropCause.OUT_OF_ORDER)
            return
        if arrival is Arrival.NEW_RUN and before is not None:
            self._statistics.stamps_restarted()
            self._logger.warning(
                f"the stamps of the images went back by {(before - stamp) * 1e-9:.3f} s and go on from there: a "
                "recording in a loop, a simulator that restarted, a clock that was set, or publishers with two clocks",
                throttle_duration_sec=QUIET,
            )
        if self._queue.offer(message):
            self._statistics.dropped(DropCause.REPLACED)

    def begin_run(self) -> None:
        """Take whatever stamp comes next as in order. The thread that offers frames may call this."""
        self._order.forget()

    def discard(self) -> None:
        """Throw away the unread frame, if there is one. Whatever stamp comes next is in order."""
        self._order.forget()
        if self._queue.discard():
            self._statistics.dropped(DropCause.INACTIVE)

    @property
    def held(self) -> int:
        """Number of results that are held back."""
        return len(self._held)

    def flush(self) -> Future[None]:
        """Deliver what is held back, oldest first, when the frame or command at work is done."""
        return self.submit(lambda _: self._flush())

    def submit(self, call: Callable[[Session], R], lane: Lane = Lane.NODE) -> Future[R]:
        """Queue a command.

        Args:
            call: What to do, in the inference thread.
            lane: Whose command it is; those of clients are bounded.

        Returns:
            The future result. It fails with what `call` raises, with BusyError where too many commands wait, and with
            StoppedError after the end. What the command changed shows in `report` and `history` by then.
        """
        try:
            return self._queue.put(call, lane)
        except RefusedError as error:
            refused: Future[R] = Future()
            refused.set_exception(error)
            return refused

    def _run(self, session: Session) -> None:
        with own_stream(self._device, priority=URGENT):
            while (item := self._queue.take()) is not None:
                self._began = time.monotonic()
                with suppress(MemoryError):  # even an account of what failed needs some; the next one is tried
                    if isinstance(item, Command):
                        self._carry_out(item, session)
                    else:
                        self._process(item.message, session)
                        self._observe(session)
                self._began = None
                del item  # a future holds its result: nothing of it stays behind while the thread waits
            session.reset("the tracker was cleaned up")
            self._observe(session)
        self._history = replace(self._history, frames=())  # whoever holds the thread holds no frames

    def _observe(self, session: Session) -> None:
        with suppress(MemoryError):  # what was seen before stands; the command or frame is done all the same
            self._report, self._history = session.stream.report(), session.stream.history
        tell = self._tell
        if tell is None:
            return
        try:
            tell(session)
        except Exception as error:
            self._statistics.error(f"events are not published: {type(error).__name__}: {error}")

    def _carry_out(self, command: Command[Any], session: Session) -> None:
        """Run a command. What it changed shows before its answer does."""
        try:
            result = command.call(session)
        except Exception as error:
            self._observe(session)
            command.future.set_exception(error)
        else:
            self._observe(session)
            command.future.set_result(result)

    def _process(self, message: M, session: Session) -> None:
        """Track a frame; whatever goes wrong with it is counted and does not leave this method."""
        header: Header = message.header  # type: ignore[attr-defined]
        try:
            image = self._decode(message)
            started = time.perf_counter()
            outcome = session.step(image, stamp_of(header), header)
            result = outcome.result
            if result.masks.is_cuda:  # not the whole device: a detection may run on it
                torch.cuda.current_stream(result.masks.device).synchronize()
            now = time.perf_counter()
            ready = self._held.push(outcome, _Tracked(message, image, now - started, now))
            if ready is not None:
                self._hand_on(*ready)
            if session.watch is not None:
                self._history = session.stream.history
                session.watch(outcome)
        except ImageError as error:
            self._statistics.dropped(DropCause.BAD_IMAGE)
            self._statistics.error(f"unreadable image: {error}")
            self._logger.warning(legible(f"image dropped: {error}"), throttle_duration_sec=QUIET)
        except torch.cuda.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            self._failed(f"the device ran out of memory: {error}")
        except Exception as error:
            self._failed(f"{type(error).__name__}: {error}")

    def _hand_on(self, outcome: ConceptResult, tracked: _Tracked[M]) -> None:
        if not self._stopping:
            held = time.perf_counter() - tracked.ready
            self._deliver(tracked.message, tracked.image, outcome.result, tracked.seconds, held)

    def _flush(self) -> None:
        for outcome, tracked in self._held.flush():
            try:
                self._hand_on(outcome, tracked)
            except Exception as error:
                self._failed(f"{type(error).__name__}: {error}")

    def _failed(self, text: str) -> None:
        self._statistics.dropped(DropCause.ERROR)
        self._statistics.error(text)
        self._logger.error(legible(f"frame dropped: {text}"), throttle_duration_sec=QUIET)
