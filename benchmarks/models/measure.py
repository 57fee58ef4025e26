"""Measure one model in a process of its own: ``python -m benchmarks.models.measure KEY`` prints JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from statistics import median
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.models.catalogue import CATALOGUE, Entry, Kind
from benchmarks.speed.contender import Ours
from benchmarks.speed.memory import forget_peak, peak_resident_bytes, resident_bytes
from benchmarks.speed.timing import CLOCKS, settle
from benchmarks.speed.work import Work, boxes, frames
from sam_core import build_predictor
from sam_core.build import build_model
from sam_core.sam1.build import build_sam1
from sam_core.sam2 import ImageFeatures, Sam2
from sam_core.sam3 import build_detector, build_network

__all__ = ["SETTLED", "SIZE", "measure", "sizes"]

SIZE = (640, 480)  # px of the camera
SETTLED = 8  # frames until all seven spatial memories are there; of the 16 pointers, which take no time, half are
MIB = 2**20
PHRASE = "yellow cup"
_LEAST_SECONDS = 2.0

Frame = NDArray[Any]


def measure(entry: Entry, frames_timed: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """Build a model with the shipped weights, or random ones, and time frames: float32 on the CPU.

    Args:
        entry: The model.
        clock: Seconds.
        frames_timed: Frames of which the median is taken, at least; small models get more, two seconds' worth.

    Returns:
        `px`, `parameters`, `weights` (MiB), `ms` (median of a frame), `all ms`, and `peak`: the highest resident memory
        during these frames less that before the model was built, in MiB; None where the system has no such figure.
    """
    images = frames(*SIZE, count=8)
    before = resident_bytes()
    step = {Kind.TRACK: _tracker, Kind.IMAGE: _predictor, Kind.DETECT: _detector}[entry.kind](entry, images)
    forget_peak()
    times = list(_timed(step, images, frames_timed, clock))
    peak = peak_resident_bytes()
    return {
        **sizes(entry),
        "ms": 1000 * median(times),
        "all ms": [1000 * seconds for seconds in times],
        "peak": None if peak is None else (peak - before) / MIB,
    }


def sizes(entry: Entry) -> dict[str, Any]:
    """Return what is known of a model without running it: `px`, `parameters`, `weights` in MiB of float32."""
    with torch.device("meta"):
        if entry.kind is Kind.TRACK:
            network: nn.Module = build_model(entry.model, entry.overrides)
        elif entry.kind is Kind.IMAGE:
            network = build_sam1(entry.model, overrides=entry.overrides)
        else:
            network = build_network(entry.model, entry.overrides)
    parameters = sum(tensor.numel() for tensor in network.parameters())
    return {"px": network.image_size, "parameters": parameters, "weights": 4 * parameters / MIB}


def _timed(
    step: Callable[[Frame], object], images: Sequence[Frame], least: int, clock: Callable[[], float]
) -> Iterator[float]:
    """Yield the seconds of so many frames, and of more as long as these take less than `_LEAST_SECONDS`."""
    first = clock()
    for done, image in enumerate(cycle(images)):
        begin = clock()
        if done >= least and begin - first >= _LEAST_SECONDS:
            return
        step(image)
        yield clock() - begin


Step = Callable[[Frame], object]


def _tracker(entry: Entry, images: Sequence[Frame]) -> Step:
    """Track one object until the memory is full. All these frames have the features of the first, which saves time."""
    ours = Ours(Work(entry.model, entry.overrides), torch.device("cpu"), torch.float32, "ours")
    network = ours.network
    with _encoded_once(network):
        settle(ours, images, boxes(1, *SIZE), SETTLED)
    return ours.step


@contextmanager
def _encoded_once(network: Sam2) -> Iterator[None]:
    """Let a network answer every image with the features of the first."""
    features: list[ImageFeatures] = []

    def encode_first(images: Tensor) -> ImageFeatures:
        if not features:
            features.append(type(network).encode_image(network, images))
        return features[0]

    network.encode_image = encode_first  # type: ignore[method-assign]
    try:
        yield
    finally:
        del network.encode_image


def _predictor(entry: Entry, images: Sequence[Frame]) -> Step:
    """Answer one box; the first image prepares the weights."""
    predictor = build_predictor(entry.model, device="cpu", dtype="float32", overrides=entry.overrides)
    (box,) = boxes(1, *SIZE)

    def step(image: Frame) -> object:
        predictor.set_image(image)
        return predictor.predict(boxes=box, multimask=False).masks

    step(images[0])
    return step


def _detector(entry: Entry, images: Sequence[Frame]) -> Step:
    """Search for one phrase; the first image encodes it."""
    detector = build_detector(entry.model, device="cpu", dtype="float32", overrides=entry.overrides)

    def step(image: Frame) -> object:
        return detector.detect(detector.encode_image(image), PHRASE, threshold=0.5)

    step(images[0])
    return step


def main(args: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.measure", description=__doc__)
    parser.add_argument("key", choices=[entry.key for entry in CATALOGUE if entry.as_in is None])
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", default="wall", choices=sorted(CLOCKS))
    options = parser.parse_args(args)
    torch.set_num_threads(options.threads)
    (entry,) = (entry for entry in CATALOGUE if entry.key == options.key)
    print(json.dumps(measure(entry, options.frames, CLOCKS[options.clock])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
