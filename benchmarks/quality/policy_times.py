"""What policies cost: the processor time of a frame, in turns in one process, over that of the first policy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.look_alikes import make_distractor_clip
from benchmarks.quality.run import prompt_for
from sam_core import Stream, Tracker
from sam_core.streaming import POLICIES

__all__ = ["print_times"]

_FILLING = 45  # frames until the memory of any policy is full


def print_times(tracker: Tracker, policies: Sequence[str], objects: int, rounds: int) -> dict[str, dict[str, float]]:
    """Print the median time of a frame in ms, and the median of the ratios of each turn.

    Args:
        tracker: the weights.
        policies: names; the first is what the others are compared with.
        objects: boxes that are tracked.
        rounds: turns that are measured.
    """
    clip = make_distractor_clip(2, frames=60)  # its three things show on every frame, so every memory fills
    images, rng = clip.images, np.random.default_rng(0)
    streams = [tracker.open_stream(policy=POLICIES[policy](), max_objects=objects) for policy in policies]
    for stream in streams:
        stream.step(images[0], 0)
        for k in range(objects):
            stream.add_prompt(prompt_for(clip.labels[0] == k % clip.objects + 1, "box", rng))
    times: list[list[float]] = []
    for turn in range(1, _FILLING + rounds + 1):
        times.append([_step(stream, images[turn % len(images)], turn) for stream in streams])
    measured = times[_FILLING:]
    figures = {}
    print(f"| policy | ms a frame, {objects} objects | over {policies[0]} |\n|---|---|---|")
    for place, policy in enumerate(policies):
        middle = median(turn[place] for turn in measured)
        ratio = median(turn[place] / turn[0] for turn in measured)
        figures[f"time {policy}"] = {"ms": 1000 * middle, "ratio": ratio}
        print(f"| {policy} | {1000 * middle:.1f} | {ratio:.3f} |", flush=True)
    return figures


def _step(stream: Stream, image: NDArray[np.uint8], stamp: int) -> float:
    begin = time.process_time()
    stream.step(image, stamp)
    return time.process_time() - begin
