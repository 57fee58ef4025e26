"""Command line: ``python -m benchmarks.concepts --pictures 200``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import cv2
import torch

from benchmarks.concepts.pictures import KINDS, SETS, make_case
from benchmarks.concepts.run import Figures, ask_case, image_and_phrase_time
from benchmarks.concepts.sheet import sheet, tile
from benchmarks.quality.strip import save_png
from sam_core.sam3 import build_detector

# Figure, heading, and the goals on the seen and on the unseen set.
_ROWS = (
    ("f1", "positive micro F1, mask IoU 0.5", ">= 0.85", ">= 0.70"),
    ("mask_iou", "mean mask IoU of the instances found", "", ""),
    ("false_alarms", "absent concepts: false alarms a picture", "<= 0.05", "<= 0.05"),
    ("il_mcc", "presence: IL_MCC", ">= 0.85", ""),
    ("exemplar_f1", "positive box alone: F1", ">= 0.70", ""),
    ("excluded_f1", "phrase and negative box: F1 against the rest", "", ""),
    ("negative_removes", "negative box: look-alikes removed", "", ""),
    ("negative_keeps", "negative box: others kept", "", ""),
)


def main() -> None:
    """Print a table in Markdown; write figures and pictures on request."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.concepts", description=__doc__)
    parser.add_argument("--model", default="sam3_nano")
    parser.add_argument("--checkpoint", default=None, help="default: the weights that ship with the model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--pictures", type=int, default=200, help="pictures a set")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--time", action="store_true", help="measure the time of a picture and a phrase, 2 threads")
    parser.add_argument("--json", type=Path, default=None, help="write all figures here")
    parser.add_argument("--sheet", type=Path, default=None, help="write a sheet of pictures here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    detector = build_detector(arguments.model, arguments.checkpoint, arguments.device, arguments.dtype)
    begin = time.perf_counter()
    figures = {which: Figures() for which in SETS}
    tiles = []
    for which in SETS:
        for seed in range(arguments.pictures):
            case = make_case(which, seed)
            answers = ask_case(detector, case, figures[which])
            kind = KINDS[(0, 1, 0, 2, 0, 3)[seed % 6]]
            shown = [found for found in answers if found[0] == kind] or answers
            if seed < 12:
                tiles.append(tile(case.scene.image, *shown[0]))
            print(f"{which} {seed + 1}/{arguments.pictures}", end="\r", file=sys.stderr, flush=True)
    summaries = {which: figures[which].summary() for which in SETS}
    print("| figure | seen | goal | unseen | goal |\n|---|---|---|---|---|")
    for name, text, *goals in _ROWS:
        cells = [f"{summaries[which][name]:.3f} | {goal}" for which, goal in zip(SETS, goals, strict=True)]
        print(f"| {text} | {' | '.join(cells)} |")
    print("\n| F1 of phrases that name | seen | unseen |\n|---|---|---|")
    for name in sorted({key for values in summaries.values() for key in values if key.startswith("f1 ")}):
        cells = [f"{values[name]:.3f}" if name in values else "" for values in summaries.values()]
        print(f"| {name.removeprefix('f1 ')} | {' | '.join(cells)} |")
    words = {which: figures[which].words for which in SETS}
    counts = {which: (sum(tally.present), sum(tally.absent)) for which, tally in words.items()}
    print(f"\n{arguments.pictures} pictures a set; questions (present, absent): {counts}; ", end="")
    print(f"{time.perf_counter() - begin:.0f} s")
    everything: dict[str, dict[str, float]] = dict(summaries)
    if arguments.time:
        everything["time"] = {"ms": image_and_phrase_time(detector)}
        print(f"picture of 640 x 480 px and one new phrase: {everything['time']['ms']:.0f} ms (median, 2 threads)")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(everything, indent=1) + "\n")
    if arguments.sheet is not None:
        save_png(arguments.sheet, sheet(tiles))


if __name__ == "__main__":
    main()
