"""Kill a run again and again, and resume it: is what it writes the same as without?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.annotation.command import start, track
from benchmarks.annotation.recording import RATE, scene_frames, write_prompts, write_scene

__all__ = ["measure"]

_OBJECTS = (1, 2)
_OUTPUTS = ("bag", "coco", "csv", "report")
_EARLIEST, _LATEST = 3.0, 40.0  # s after its start at which a run is killed


def measure(folder: Path, seconds: float, kills: int, model: Sequence[str]) -> list[str]:
    """Track a bag in one go, and with so many kills; return the rows of a table."""
    frames = scene_frames()
    count = round(seconds * RATE)
    bag = write_scene(folder / "bag", frames, count)
    # Prompts in the middle: both passes are killed.
    prompts = write_prompts(folder / "prompts.yaml", frames[count // 3 % len(frames)].labels, _OBJECTS, count // 3)
    request = [bag, "--prompts", prompts, "--write", *_OUTPUTS, *model]
    log = folder / "log"
    whole = track([*request, "-o", folder / "whole"], log)
    rng = np.random.default_rng(time.time_ns())
    moments: list[float] = []
    while len(moments) < kills:
        process = start([*request, "-o", folder / "killed"], log)
        moments.append(float(rng.uniform(_EARLIEST, min(_LATEST, whole.seconds))))
        time.sleep(moments[-1])
        if process.poll() is not None:
            raise RuntimeError("the run ended before it was killed: take a longer recording")
        process.kill()
        process.wait()
    track([*request, "-o", folder / "killed"], log)
    same = _contents(folder / "killed") == _contents(folder / "whole")
    told = ", ".join(f"{moment:.1f}" for moment in moments)
    rows = ["| images | killed after so many seconds each | outputs |", "|---|---|---|"]
    return [*rows, f"| {count:,} | {told} | {'identical' if same else 'DIFFERENT'} |"]


def _contents(run: Path) -> dict[str, bytes]:
    """Return the outputs of a run by their paths."""
    names = ("bag", "coco", "boxes.csv", "report")
    files = (path for path in run.rglob("*") if path.is_file() and path.relative_to(run).parts[0] in names)
    return {str(path.relative_to(run)): path.read_bytes() for path in files}
