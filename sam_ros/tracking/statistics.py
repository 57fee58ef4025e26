"""Count what happens to frames: rates, latencies, drops by cause, the last error."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from sam_ros.runtime.texts import legible

__all__ = ["WINDOW", "DropCause", "Snapshot", "Statistics", "Timing"]

WINDOW = 5.0  # s: rates and percentiles describe this much of the past
MAX_SAMPLES = 2048  # bounds the memory should frames come faster than anybody expects


class DropCause(Enum):
    """Say why an image that was published did not become a result."""

    LOST = "lost in transport"
    REPLACED = "replaced by a newer frame"  # in our queue or already in the middleware's queue of one
    BAD_IMAGE = "unreadable image"
    OUT_OF_ORDER = "older than its predecessor"
    PAUSED = "paused"
    INACTIVE = "deactivated"
    ERROR = "inference error"


@dataclass(frozen=True)
class Timing:
    """What one processed frame took.

    Attributes:
        latency: From the image's stamp until its objects were published, s.
        model: Inside `Stream.step` until its result is ready, s: upload, resize and normalisation of the RGB image, the
            networks, the memory bank, masks at the image's size with their boxes, areas and centroids.
        held: While the result was held back on purpose, s.
    """

    latency: float
    model: float
    held: float = 0.0

    @property
    def overhead(self) -> float:
        """Everything else, s: publishing and receiving the image, waiting, its conversion to RGB, messages."""
        return self.latency - self.model - self.held


@dataclass(frozen=True)
class Snapshot:
    """The counts at one moment; totals since the start, rates in Hz and percentiles over the last `WINDOW` seconds.

    Where nothing was processed in that time, the percentiles describe the newest frame.

    Percentiles are (p50, p99) in s, NaN before the first frame.
    """

    received: int
    processed: int
    drops: dict[DropCause, int]
    rate_in: float
    rate_out: float
    latency: tuple[float, float]
    model: tuple[float, float]
    overhead: tuple[float, float]
    since_last_image: float | None  # s; None before the first image
    restarts: int  # how often the stamps of the images went back for good
    since_last_result: float | None  # s; None before the first result
    refused_prompts: int
    last_error: str  # empty when there was none


def _percentiles(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return float("nan"), float("nan")
    p50, p99 = np.percentile(np.asarray(values), (50, 99))
    return float(p50), float(p99)


@dataclass
class _Meter:
    """Remember when something happened during the last `WINDOW` seconds."""

    times: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))

    def rate(self, now: float) -> float:
        """Return events per second: intervals by their duration, so that a steady 30 Hz reads 30.0.

        Where less than two happened in the window, the newest interval counts, or the silence since if it is longer:
        a slow model still has a rate, and a stopped stream's falls.
        """
        recent = [t for t in self.times if t > now - WINDOW]
        if len(recent) >= 2:
            return (len(recent) - 1) / max(recent[-1] - recent[0], 1e-9)
        if len(self.times) >= 2:
            return 1 / max(self.times[-1] - self.times[-2], now - self.times[-1])
        return 0.0


class Statistics:
    """Collect counts from any thread.

    Args:
        clock: Monotonic seconds; tests pass their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._drops: Counter[DropCause] = Counter()
        self._received = 0
        self._missing = 0
        self._processed = 0
        self._restarts = 0
        self._refused_prompts = 0
        self._last_error = ""
        self._in = _Meter()
        self._out = _Meter()
        self._timings: deque[tuple[float, Timing]] = deque(maxlen=MAX_SAMPLES)

    def image_received(self) -> None:
        """Count an image that reached the node, whatever becomes of it."""
        with self._lock:
            self._received += 1
            self._in.times.append(self._clock())

    def images_missing(self, count: int) -> None:
        """Count images that the publisher numbered but the node never saw: lost, or else replaced by a newer one."""
        with self._lock:
            self._missing += count

    def frame_processed(self, timing: Timing | None) -> None:
        """Count a frame whose results were published; `timing` is None where its image or the clock has no time."""
        with self._lock:
            now = self._clock()
            self._processed += 1
            self._out.times.append(now)
            if timing is not None:
                self._timings.append((now, timing))

    def dropped(self, cause: DropCause, count: int = 1) -> None:
        """Count images that did not become results."""
        with self._lock:
            self._drops[cause] += count

    def stamps_restarted(self) -> None:
        """Count that the stamps of the images went back for good."""
        with self._lock:
            self._restarts += 1

    def prompt_refused(self) -> None:
        """Count a prompt that was answered with a reason instead of an object."""
        with self._lock:
            self._refused_prompts += 1

    def error(self, text: str) -> None:
        """Remember the newest error, made legible: it may quote what a client sent."""
        with self._lock:
            self._last_error = legible(text)

    def snapshot(self) -> Snapshot:
        """Return the counts as they are now."""
        with self._lock:
            now = self._clock()
            timings = [timing for when, timing in self._timings if when > now - WINDOW]
            if not timings and self._timings:
                timings = [self._timings[-1][1]]
            drops = {cause: self._drops[cause] for cause in DropCause}
            drops[DropCause.REPLACED] += max(0, self._missing - drops[DropCause.LOST])
            return Snapshot(
                received=self._received,
                processed=self._processed,
                drops=drops,
                rate_in=self._in.rate(now),
                rate_out=self._out.rate(now),
                latency=_percentiles([t.latency for t in timings]),
                model=_percentiles([t.model for t in timings]),
                overhead=_percentiles([t.overhead for t in timings]),
                since_last_image=now - self._in.times[-1] if self._in.times else None,
                restarts=self._restarts,
                since_last_result=now - self._out.times[-1] if self._out.times else None,
                refused_prompts=self._refused_prompts,
                last_error=self._last_error,
            )
