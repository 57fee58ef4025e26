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
    """Track so many bags of so many seconds both ways; return the rows of a table."""
    frames = scene_frames()
    count = round(seconds * RATE)
    recordings = [write_scene(folder / f"bag_{k}", frames, count) for k in range(bags)]
    prompts = write_prompts(folder / "prompts.yaml", frames[0].labels, _OBJECTS)
    request = [*recordings, "--prompts", prompts, "--write", "csv", "--engine", "ray", *model]
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("This needs two cores.")
    costs = {}
    for workers in (1, 2):
        os.sched_setaffinity(0, cores[:workers])  # of this process, and of what it starts
        output = folder / f"workers_{workers}"
        costs[workers] = track(
            [*request, "-o", output, "--workers", workers], folder / f"workers_{workers}.log"
        ).seconds
    os.sched_setaffinity(0, cores)
    same = all(
        (folder / "workers_1" / bag.name / "boxes.csv").read_bytes()
        == (folder / "workers_2" / bag.name / "boxes.csv").read_bytes()
        for bag in recordings
    )
    rows = ["| bags x images | 1 worker, 1 core | 2 workers, 2 cores | ratio | results |", "|---|---|---|---|---|"]
    ratio = costs[1] / costs[2]
    told = "identical" if same else "DIFFERENT"
    return [*rows, f"| {bags} x {count} | {costs[1]:.0f} s | {costs[2]:.0f} s | {ratio:.2f} | {told} |"]
