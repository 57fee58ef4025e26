"""Several bags on two Ray workers with two cores, against one worker with one core."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.annotation.command import track
from benchmarks.annotation.recording import RATE, scene_frames, write_prompts, write_scene

__all__ = ["measure"]

_OBJECTS = (1, 2)


def measure(folder: Path, bags: int, seconds: float, model: Sequence[str]) -> list[str]:
    """Track so many bags of so many seconds both ways; return the rows of a table.

    Two workers are measured before and after one worker: what else the machine does then weighs on both alike.
    """
    frames = scene_frames()
    count = round(seconds * RATE)
    recordings = [write_scene(folder / f"bag_{k}", frames, count) for k in range(bags)]
    prompts = write_prompts(folder / "prompts.yaml", frames[0].labels, _OBJECTS)
    request = [*recordings, "--prompts", prompts, "--write", "csv", "--engine", "ray", *model]
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("This needs two cores.")
    costs: dict[int, list[float]] = {1: [], 2: []}
    tables = []
    for turn, workers in enumerate((2, 1, 2)):
        os.sched_setaffinity(0, cores[:workers])  # of this process, and of what it starts
        run = folder / f"run_{turn}"
        costs[workers].append(track([*request, "-o", run, "--workers", workers], folder / "log").seconds)
        tables.append([(run / bag.name / "boxes.csv").read_bytes() for bag in recordings])
    os.sched_setaffinity(0, cores)
    rows = ["| bags x images | 1 worker, 1 core | 2 workers, 2 cores | ratio | results |", "|---|---|---|---|---|"]
    (one,), two = costs[1], costs[2]
    told = "identical" if tables[0] == tables[1] == tables[2] else "DIFFERENT"
    ratio = one / (sum(two) / len(two))
    seconds_of_two = ", ".join(f"{value:.0f} s" for value in two)
    return [*rows, f"| {bags} x {count} | {one:.0f} s | {seconds_of_two} | {ratio:.2f} | {told} |"]
