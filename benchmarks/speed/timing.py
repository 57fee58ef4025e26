"""Clocks: interleaved runs of several contenders, medians, ratios, and the parts of a frame."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import lcm
from statistics import fmean, median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.speed.contender import Contender

__all__ = ["CLOCKS", "Breakdown", "Meter", "Timings", "interleave", "settle", "tell"]


def tell(text: str) -> None:
    """Print the progress of the benchmark to stderr."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Meter:
    """A clock that synchronises the device before it is read.

    Attributes:
        device: Where the work is done.
        clock: Seconds. Processor time (`time.process_time`) equals wall time on an idle machine, with one thread and no
            GPU; on a shared machine it excludes the time in which other processes had the core.
    """

    device: torch.device
    clock: Callable[[], float] = time.perf_counter

    def read(self) -> float:
        """Return the time once the device has nothing more to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.clock()


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass
class Timings:
    """Times of a frame in s, by contender; entry i of each was taken in the same round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def milliseconds(self, name: str) -> float:
        """Return the median time of a contender in ms."""
        return 1000 * median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """Return the median over the rounds of one contender's time over another's in the same round."""
        return median(a / b for a, b in zip(self.seconds[name], self.seconds[other], strict=True))


def settle(
    contender: Contender,
    frames: Sequence[NDArray[np.uint8]],
    boxes: Sequence[NDArray[np.float32]],
    count: int,
    *,
    in_parts: bool = False,
) -> Tensor:
    """Open a stream and feed it until its memory is full; returns the masks (N, H, W) of the last frame."""
    contender.begin(frames[0], boxes, in_parts=in_parts)
    for i in range(1, count):
        masks = contender.step(frames[i % len(frames)])
    return masks


def interleave(
    contenders: Sequence[Contender],
    frames: Sequence[NDArray[np.uint8]],
    *,
    meter: Meter,
    rounds: int,
    seconds: float = 0.2,
) -> Timings:
    """Time settled contenders in turns: A B A B …, all on the same frames.

    Args:
        contenders: Each with an open stream.
        frames: What they see, from the first to the last, again and again.
        meter: The clock.
        rounds: Turns of each contender. One more at the beginning is not counted.
        seconds: Least length of a turn, which is whole periods of all contenders; its time is the mean over its frames.
    """
    period = lcm(*(contender.period for contender in contenders))
    timings = Timings({contender.name: [] for contender in contenders})
    counts = [1] * len(contenders)
    place = 0
    for turn in range(rounds + 1):
        for k, contender in enumerate(contenders):
            begin = meter.read()
            for i in range(counts[k]):
                contender.step(frames[(place + i) % len(frames)])
            elapsed = (meter.read() - begin) / counts[k]
            if turn == 0:
                counts[k] = period * max(1, min(len(frames) // period, round(seconds / elapsed / period)))
            else:
                timings.seconds[contender.name].append(elapsed)
        place += max(counts)
    return timings


class Breakdown:
    """Time of the parts of a frame: forward hooks on four networks.

    The hooks read the clock when a network is entered and left, after waiting for the device, which is why this is a
    run of its own, with a stream that was begun in parts. *Before* is the time from the call to the image encoder:
    upload, resize, normalisation. *Rest* is everything else: memory bank, masks at the frame's size, Python.
    """

    def __init__(self, parts: Mapping[str, nn.Module], meter: Meter) -> None:
        self._parts = parts
        self._meter = meter
        self._seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._entered = 0.0
        self._begin = 0.0

    def of(self, contender: Contender, frames: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
        """Return the median time in ms of each part of a settled contender's frame; the mean where frames differ."""
        rows = []
        with self._hooks():
            for frame in frames:
                self._seconds = dict.fromkeys(("before", *self._parts), 0.0)
                self._begin = self._meter.read()
                contender.step(frame)
                total = self._meter.read() - self._begin
                rows.append({**self._seconds, "rest": total - sum(self._seconds.values()), "frame": total})
        typical = median if contender.period == 1 else fmean
        return {name: 1000 * typical([row[name] for row in rows]) for name in rows[0]}

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        handles = []
        for name, module in self._parts.items():

            def enter(*_: object, name: str = name) -> None:
                now = self._meter.read()
                if not self._open:
                    self._entered = now
                    if name == "encoder":
                        self._seconds["before"] = self._entered - self._begin
                self._open.append(name)

            def leave(*_: object) -> None:
                now = self._meter.read()
                name = self._open.pop()
                if not self._open:
                    self._seconds[name] += now - self._entered

            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
