"""How well a tracker tracks in clips of your own with truth: ``python -m benchmarks.quality.folder FOLDER``.

The folder has the layout of DAVIS. Every object that shows in a clip's first frame is prompted there. Memory
policies are compared on such a folder by ``benchmarks.quality.policies --folder`` (`videos.py`), which also prompts
objects that come later.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.quality.metrics import average
from benchmarks.quality.run import PROMPTS, track
from sam_core import Tracker, build_tracker
from sam_core.training.generator import Clip
from sam_core.training.tracking.davis import Video, find_videos

__all__ = ["judge_videos"]


def judge_videos(tracker: Tracker, videos: Sequence[Video], prompt: str) -> dict[str, float]:
    """Track the objects of all videos, and return the means over them; see `ObjectFigures` for the names.

    Args:
        tracker: used with its model's own memory policy and choices.
        videos: at the resolution of their files.
        prompt: ``click``, ``box`` or ``mask``.
    """
    figures = []
    for seed, video in enumerate(videos):
        pairs = [video.read(k) for k in range(len(video.frames))]
        labels = np.stack([labels for _, labels in pairs])
        clip = Clip(np.stack([image for image, _ in pairs]), labels, int(labels.max()))
        figures += track(tracker, clip, prompt, seed)[0]
    return {**average(figures), "objects": len(figures)}


def main() -> None:
    """Print a row for each kind of prompt."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.folder", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", default=None, help="of ImageSets, such as val; default: all videos")
    parser.add_argument("--model", default="sam2_nano")
    parser.add_argument("--checkpoint", default=None, help="default: the weights that ship with the model")
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE", help="of the model's configuration")
    parser.add_argument("--device", default=None)
    parser.add_argument("--dtype", default=None, choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--prompts", nargs="+", default=["click", "box"], choices=PROMPTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=None, help="write all figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    try:
        videos = find_videos(options.folder, options.split)
        tracker = build_tracker(options.model, options.checkpoint, options.device, options.dtype, options.overrides)
        figures = {kind: judge_videos(tracker, videos, kind) for kind in options.prompts}
    except ValueError as error:
        parser.exit(1, f"{error}\n")
    print("| prompt | objects | first frame | J | F | absence recall |\n|---|---|---|---|---|---|")
    for kind, means in figures.items():
        cells = " | ".join(f"{means[name]:.3f}" for name in ("first", "j", "f", "absent"))
        print(f"| {kind} | {means['objects']} | {cells} |")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
