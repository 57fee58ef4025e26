"""Command line: ``python -m benchmarks.quality --clips 40``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch

from benchmarks.quality.clips import LEVELS, make_benchmark_clip
from benchmarks.quality.metrics import ObjectFigures, average
from benchmarks.quality.options import add_tracking_options, tracking_options
from benchmarks.quality.run import PROMPTS, frame_time, track
from benchmarks.quality.strip import save_png, strip
from sam_core import Tracker, build_tracker
from sam_core.streaming import POLICIES

_COLUMNS = {
    "first": "first frame",
    "j": "J",
    "f": "F",
    "j_late": "J last half",
    "static": "J of a static mask",
    "absent": "absence recall",
    "again": "recovered",
    "switched": "ID switches",
}


def main() -> None:
    """Print a table in Markdown; write figures and pictures on request."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--model", default="sam2_nano")
    parser.add_argument("--checkpoint", default=None, help="default: the weights that ship with the model")
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE", help="of the model's configuration")
    parser.add_argument("--device", default=None)
    parser.add_argument("--dtype", default=None, choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--clips", type=int, default=40, help="clips a level; 0 with --time: no table")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--levels", nargs="+", default=list(LEVELS), choices=list(LEVELS))
    parser.add_argument("--prompts", nargs="+", default=["click", "box"], choices=PROMPTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--time", type=int, nargs="?", const=10, default=0, metavar="ROUNDS", help="measure the time of a frame, too"
    )
    parser.add_argument("--json", type=Path, default=None, help="write all figures here")
    parser.add_argument("--pictures", type=Path, default=None, help="write a strip a level into this folder")
    add_tracking_options(parser)
    arguments = parser.parse_args()
    if min(arguments.clips, arguments.time) < 0 or not (arguments.clips or arguments.time):
        parser.error("There is nothing to do: clips or rounds of --time must be more than 0.")
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    tracker = build_tracker(
        arguments.model, arguments.checkpoint, arguments.device, arguments.dtype, arguments.overrides
    )
    choices = tracking_options(arguments, tracker)
    memory = choices.pop("memory")
    policy = POLICIES[memory]()
    everything: dict[str, dict[str, float]] = {}
    if arguments.clips:
        print(f"| level | prompt | objects | {' | '.join(_COLUMNS.values())} |")
        print(f"|---|---|---|{'---|' * len(_COLUMNS)}", flush=True)
    begin = time.perf_counter()
    for level in arguments.levels if arguments.clips else []:
        figures: dict[str, list[ObjectFigures]] = {kind: [] for kind in arguments.prompts}
        rows = []
        for seed in range(arguments.clips):
            clip = make_benchmark_clip(level, seed, arguments.frames)
            for kind in arguments.prompts:
                found, shown = track(tracker, clip, kind, seed, policy, None, **choices)
                figures[kind] += found
            if seed < 3:
                rows.append(strip(clip.images, shown, height=110))
            print(f"{level} {seed + 1}/{arguments.clips}", end="\r", file=sys.stderr, flush=True)
        for kind, found in figures.items():
            means = average(found)
            everything[f"{level} {kind}"] = {**means, "objects": len(found)}
            cells = " | ".join(f"{means[name]:.3f}" for name in _COLUMNS)
            print(f"| {level} | {kind} | {len(found)} | {cells} |", flush=True)
        if arguments.pictures is not None:
            save_png(arguments.pictures / f"quality_{level}.png", np.vstack(rows))
    if arguments.clips:
        took = time.perf_counter() - begin
        how = ", ".join([f"{memory} memory", *(f"{name}: {choice}" for name, choice in choices.items())])
        print(f"\n{arguments.clips} clips a level, {arguments.frames} frames, {how}, {took:.0f} s")
    if arguments.time:
        everything |= _print_times(tracker, arguments.time)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(everything, indent=1) + "\n")


def _print_times(tracker: Tracker, rounds: int) -> dict[str, dict[str, float]]:
    """Measure frames of one and of four objects in turns; print the median of the rounds, and their range."""
    clip, counts, threads, frames = make_benchmark_clip("clear", 0, 60), (1, 4), 2, 30
    times = [[frame_time(tracker, clip, n, threads, frames) for n in counts] for _ in range(rounds)]
    figures: dict[str, dict[str, float]] = {}
    for objects, of_objects in zip(counts, zip(*times, strict=True), strict=True):
        middle, least, most = median(of_objects), min(of_objects), max(of_objects)
        figures[f"time {objects}"] = {"ms": middle, "least": least, "most": most}
        print(
            f"{objects} object(s): {middle:.1f} ms a frame, {least:.1f} to {most:.1f} in {rounds} rounds "
            f"(means of {frames} frames, {threads} threads)"
        )
    return figures


if __name__ == "__main__":
    main()
