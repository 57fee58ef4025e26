"""Memory policies side by side on the same clips: ``python -m benchmarks.quality.policies --clips 6``.

Levels: those of ``benchmarks.quality``, *distractors*, and *absence-N* of N seconds at 30 Hz. Of the last two only the
object itself is prompted, with a box; a user tracks one of two things that look alike. Policies have their published
settings.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.quality.clips import LEVELS, make_benchmark_clip
from benchmarks.quality.look_alikes import SIZE, make_absence_clip, make_distractor_clip
from benchmarks.quality.metrics import ObjectFigures, average
from benchmarks.quality.run import track
from sam_core import build_tracker
from sam_core.streaming import POLICIES
from sam_core.training.generator import Clip

_HZ = 30  # of the absences
_ABSENCES = {f"absence-{seconds}": seconds * _HZ for seconds in (3, 10, 60)}
_ALL_LEVELS = (*LEVELS, "distractors", *_ABSENCES)
_COLUMNS = {
    "j": "J",
    "f": "F",
    "switched": "ID switches",
    "again": "re-acquired",
    "absent": "absence recall",
}


def make_clip(level: str, seed: int, frames: int, size: int) -> tuple[Clip, tuple[int, ...] | None]:
    """Return a clip, and the objects to track; None for all that show on its first frame."""
    if level in LEVELS:
        return make_benchmark_clip(level, seed, frames, size), None
    if level == "distractors":
        return make_distractor_clip(seed, frames, size), (1,)
    return make_absence_clip(_ABSENCES[level], seed, size), (1,)


def main() -> None:
    """Print a table in Markdown, a row for each level and policy."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.policies", description=__doc__)
    parser.add_argument("--model", default="sam2_nano")
    parser.add_argument("--checkpoint", default=None, help="default: the weights that ship with the model")
    parser.add_argument("--device", default=None)
    parser.add_argument("--dtype", default=None, choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE", help="of the model's configuration")
    parser.add_argument("--levels", nargs="+", default=["distractors", "absence-3"], choices=_ALL_LEVELS)
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), choices=list(POLICIES))
    parser.add_argument("--clips", type=int, default=6, help="clips a level")
    parser.add_argument("--first", type=int, default=0, help="number of the first clip")
    parser.add_argument("--frames", type=int, default=60, help="of clips that are no absences")
    parser.add_argument("--size", type=int, default=SIZE, help="side of the pictures, px")
    parser.add_argument("--json", type=Path, default=None, help="write all figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    tracker = build_tracker(
        arguments.model, arguments.checkpoint, arguments.device, arguments.dtype, arguments.overrides
    )
    everything: dict[str, dict[str, float]] = {}
    print(f"| level | policy | objects | {' | '.join(_COLUMNS.values())} |")
    print(f"|---|---|---|{'---|' * len(_COLUMNS)}", flush=True)
    for level in arguments.levels:
        figures: dict[str, list[ObjectFigures]] = {policy: [] for policy in arguments.policies}
        for seed in range(arguments.first, arguments.first + arguments.clips):
            clip, objects = make_clip(level, seed, arguments.frames, arguments.size)
            for policy in arguments.policies:
                found, _ = track(tracker, clip, "box", seed, POLICIES[policy](), objects=objects)
                figures[policy] += found
                print(f"{level} {seed} {policy}", end="\r", file=sys.stderr, flush=True)
        for policy, found in figures.items():
            means = average(found)
            everything[f"{level} {policy}"] = {**means, "objects": len(found)}
            cells = " | ".join("–" if np.isnan(means[name]) else f"{means[name]:.3f}" for name in _COLUMNS)
            print(f"| {level} | {policy} | {len(found)} | {cells} |", flush=True)
    print(f"\n{arguments.clips} clips a level from number {arguments.first}, {arguments.size} px, {arguments.model}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
