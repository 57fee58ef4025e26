"""Memory policies side by side on the same clips: ``python -m benchmarks.quality.policies --clips 6``.

Levels: those of ``benchmarks.quality``, *distractors*, and *absence-N* of N seconds at 30 Hz. Of the last two only the
object itself is prompted, with a box; a user tracks one of two things that look alike. Policies have their published
settings. With ``--time`` they are timed instead, in turns.

Your own videos, in the layout of DAVIS, MOSE or LVOS (see ``folder.py``), and your own checkpoint:

    python -m benchmarks.quality.policies --folder MOSE/train --prompt mask --model sam2.1_hiera_tiny --checkpoint my.pt
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
from benchmarks.quality.policy_times import print_times
from benchmarks.quality.run import PROMPTS, track
from benchmarks.quality.videos import chosen_videos, track_video
from sam_core import Tracker, build_tracker
from sam_core.streaming import POLICIES
from sam_core.training.generator import Clip

_VIDEO = 480  # px, shorter side of a folder's videos
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
    parser.add_argument(
        "--size", type=int, default=None, help=f"side of the pictures, px: {SIZE}, of a folder's {_VIDEO}"
    )
    parser.add_argument("--prompt", default="box", choices=PROMPTS)
    parser.add_argument("--folder", type=Path, default=None, help="track the videos in it instead of clips")
    parser.add_argument("--videos", nargs="*", default=[], metavar="NAME", help="of --folder; default: all")
    parser.add_argument("--time", type=int, default=0, metavar="ROUNDS", help="measure the time of a frame instead")
    parser.add_argument("--objects", type=int, default=8, help="of --time")
    parser.add_argument("--json", type=Path, default=None, help="write all figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    tracker = build_tracker(
        arguments.model, arguments.checkpoint, arguments.device, arguments.dtype, arguments.overrides
    )
    if arguments.time:
        everything = print_times(tracker, arguments.policies, arguments.objects, arguments.time)
    else:
        everything = _print_quality(tracker, arguments)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(everything, indent=1) + "\n")


def _print_quality(tracker: Tracker, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Track the clips of each level with each policy."""
    everything: dict[str, dict[str, float]] = {}
    print(f"| level | policy | objects | {' | '.join(_COLUMNS.values())} |")
    print(f"|---|---|---|{'---|' * len(_COLUMNS)}", flush=True)
    levels = arguments.levels if arguments.folder is None else [arguments.folder.name]
    for level in levels:
        figures = _figures(tracker, arguments, level)
        for policy, found in figures.items():
            means = average(found)
            everything[f"{level} {policy}"] = {**means, "objects": len(found)}
            cells = " | ".join("–" if np.isnan(means[name]) else f"{means[name]:.3f}" for name in _COLUMNS)
            print(f"| {level} | {policy} | {len(found)} | {cells} |", flush=True)
    if arguments.folder is None:
        size = arguments.size or SIZE
        print(f"\n{arguments.clips} clips a level from number {arguments.first}, {size} px, {arguments.model}")
    return everything


def _figures(tracker: Tracker, arguments: argparse.Namespace, level: str) -> dict[str, list[ObjectFigures]]:
    """Track the clips of a level, or the videos of a folder, with each policy."""
    figures: dict[str, list[ObjectFigures]] = {policy: [] for policy in arguments.policies}

    def take(name: str, policy: str, found: list[ObjectFigures]) -> None:
        figures[policy] += found
        print(f"{level} {name} {policy}", end="\r", file=sys.stderr, flush=True)

    if arguments.folder is not None:
        for seed, video in enumerate(chosen_videos(arguments.folder, arguments.videos)):
            for policy in arguments.policies:
                size = arguments.size or _VIDEO
                found = track_video(tracker, video, arguments.prompt, seed, POLICIES[policy](), size)
                take(video.name, policy, found)
        return figures
    for seed in range(arguments.first, arguments.first + arguments.clips):
        clip, objects = make_clip(level, seed, arguments.frames, arguments.size or SIZE)
        for policy in arguments.policies:
            found, _ = track(tracker, clip, arguments.prompt, seed, POLICIES[policy](), objects=objects)
            take(str(seed), policy, found)
    return figures


if __name__ == "__main__":
    main()
