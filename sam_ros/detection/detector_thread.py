"""The detector thread: owns a concept detector and runs one detection at a time, beside the tracking."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from rclpy.impl.rcutils_logger import RcutilsLogger

from sam_core.sam3 import ConceptDetector
from sam_core.sam3.tokenizer import Tokenizer
from sam_ros.runtime.cuda_stream import own_stream
from sam_ros.runtime.errors import RefusedError

__all__ = ["Background", "CalledOffError", "DetectorBusyError", "DetectorFacts", "DetectorThread"]

R = TypeVar("R")

LOWEST = 0  # priority of a CUDA stream
NICENESS = 10  # of the thread: where both want the same core, the tracker gets nine tenths of it (Linux only)


class DetectorBusyError(RefusedError):
    """Too many detections wait already."""


class CalledOffError(RefusedError):
    """The detector was unloaded before or during a detection."""


class Background(Protocol):
    """Work that the thread does while no call waits."""

    def wait(self) -> float | None:
        """Return the seconds until there is something to do; None where nothing is in sight."""

    def run(self, detector: ConceptDetector) -> None:
        """Do what is due."""

    def failed(self, error: Exception) -> None:
        """Take in why that failed."""


@dataclass(frozen=True)
class DetectorFacts:
    """What is known about a loaded detector without asking its thread.

    Attributes:
        name: Of its configuration.
        has_weights: Whether a checkpoint was loaded; without one its detections mean nothing.
        device: Where it runs.
        dtype: What it computes in.
        image_size: Side of its square input in px.
        tokenizer: Tells what a phrase comes to; any thread may use it.
        seconds: Time that loading took, s.
        shares_trunk: Whether it uses the tracker's trunk.
    """

    name: str
    has_weights: bool
    device: torch.device
    dtype: torch.dtype
    image_size: int
    tokenizer: Tokenizer
    seconds: float
    shares_trunk: bool


@dataclass(frozen=True)
class _Job(Generic[R]):
    call: Callable[[ConceptDetector], R]
    future: Future[R]


class DetectorThread:
    """Load a detector and use it in a thread of its own, until it is stopped.

    Calls wait in a bounded queue. On a GPU the thread has its own CUDA stream, of the lowest priority; on the CPU it
    has its own number of torch threads and a lower scheduling priority. A detection at work is broken off between two
    layers when the thread is to end, so that its memory is free soon.

    Args:
        build: Makes the detector, in this thread.
        capacity: Most calls that may wait.
        cpu_threads: Threads that torch may use for the detector on the CPU; 0 leaves torch's own choice.
        background: What to do while no call waits.
        logger: Where errors of the background are told.
    """

    def __init__(
        self,
        build: Callable[[], ConceptDetector],
        *,
        capacity: int,
        cpu_threads: int,
        background: Background,
        logger: RcutilsLogger,
    ) -> None:
        self._build = build
        self._capacity = capacity
        self._cpu_threads = cpu_threads
        self._background = background
        self._logger = logger
        self._jobs: deque[_Job[Any]] = deque()
        self._working = False
        self._stopping = False
        self._detector: ConceptDetector | None = None  # while the thread serves
        self._lent = False
        self._changed = threading.Condition()
        self.loaded: Future[DetectorFacts] = Future()
        self.ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="detector", daemon=True)

    def start(self) -> None:
        """Start the thread; `loaded` tells when and whether the detector is ready, `ended` when its memory is free."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end soon; calls that wait or run fail with CalledOffError."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most `timeout` s; return whether it came. A thread that never started has ended."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def facts(self) -> DetectorFacts | None:
        """What was loaded; None while it is not, and where it failed."""
        return self.loaded.result() if self.loaded.done() and self.loaded.exception() is None else None

    @property
    def load(self) -> int:
        """Detections at work and waiting."""
        with self._changed:
            return len(self._jobs) + self._working

    @property
    def stopping(self) -> bool:
        """Whether the thread is about to end, or has ended."""
        return self._stopping

    @contextmanager
    def lend(self) -> Iterator[ConceptDetector | None]:
        """Lend the detector to the thread that tracks, for the step of a frame; None where it is not free.

        Nobody waits here. Calls and background work that wait go first. Those that come while the detector is lent, and
        the end of the thread, wait until it is given back; a thread that is to end breaks off the borrower's detection.
        """
        with self._changed:
            wait = self._background.wait()
            busy = self._stopping or self._working or self._jobs or (wait is not None and wait <= 0)
            detector = None if busy else self._detector
            self._lent = lent = detector is not None
        try:
            yield detector
        finally:
            detector = None
            if lent:
                with self._changed:
                    self._lent = False
                    self._changed.notify()

    def submit(self, call: Callable[[ConceptDetector], R]) -> Future[R]:
        """Queue a call and return its future result.

        Raises:
            DetectorBusyError: Too many wait already.
            CalledOffError: The thread is about to end.
        """
        job = _Job(call, Future())
        with self._changed:
            if self._stopping:
                raise CalledOffError("the detector is being unloaded")
            load = len(self._jobs) + self._working
            if load > self._capacity:
                raise DetectorBusyError(
                    f"the detector is busy, and {load - 1} call(s) wait already, which is the most (parameter "
                    "detector_queue): ask again later"
                )
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def wake(self) -> None:
        """Let the thread look for background work again."""
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        try:
            self._lower_priority()
            self._serve()
        finally:
            with self._changed:
                self._stopping = True
                self._detector = None
            for job in self._jobs:
                job.future.set_exception(CalledOffError("the detector was unloaded before this detection's turn came"))
            self._jobs.clear()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.ended.set_result(None)

    def _lower_priority(self) -> None:
        if sys.platform == "linux":  # where a thread has a niceness of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        if self._cpu_threads:
            torch.set_num_threads(self._cpu_threads)

    def _serve(self) -> None:
        started = time.monotonic()
        try:
            detector = self._build()
        except Exception as error:
            self.loaded.set_exception(error)
            return
        for module in detector.own_modules:
            module.register_forward_pre_hook(self._break_off)
        self.loaded.set_result(
            DetectorFacts(
                name=detector.name,
                has_weights=detector.load_report is not None,
                device=detector.device,
                dtype=detector.dtype,
                image_size=detector.image_size,
                tokenizer=detector.tokenizer,
                seconds=time.monotonic() - started,
                shares_trunk=detector.shares_trunk,
            )
        )
        with self._changed:
            self._detector = detector
        with own_stream(detector.device, priority=LOWEST):
            while (job := self._next()) is not None:
                self._do(job, detector)
                del job  # a future holds its result: nothing of it stays behind while the thread waits

    def _next(self) -> _Job[Any] | None:
        """Wait for something to do; None ends the thread."""
        with self._changed:
            while self._lent or not self._stopping:
                if self._lent:
                    self._changed.wait()
                    continue
                if self._jobs:
                    self._working = True
                    return self._jobs.popleft()
                wait = self._background.wait()
                if wait is not None and wait <= 0:
                    self._working = True
                    return _Job(self._background.run, Future())
                self._changed.wait(wait)
        return None

    def _do(self, job: _Job[Any], detector: ConceptDetector) -> None:
        try:
            result = job.call(detector)
        except Exception as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                torch.cuda.empty_cache()
            if job.call == self._background.run and not isinstance(error, CalledOffError):
                self._background.failed(error)
            self._rest()
            job.future.set_exception(error)
        else:
            self._rest()  # first: who has the answer finds the thread idle
            job.future.set_result(result)

    def _rest(self) -> None:
        with self._changed:
            self._working = False

    def _break_off(self, *_: Any) -> None:
        if self._stopping:
            raise CalledOffError("the detector was unloaded during this detection")
