"""The demo scene with its truth: ``python -m benchmarks.quality.demo``. It is not in the training data."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.quality.metrics import average, judge
from benchmarks.quality.options import add_tracking_options, tracking_options
from benchmarks.quality.run import PROMPTS, prompt_for
from benchmarks.quality.strip import save_png, strip
from sam_core import build_tracker
from sam_core.streaming import POLICIES
from sam_core.synthetic import DemoScene


def main() -> None:
    """Track all objects of the scene through one loop, print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.demo", description=__doc__)
    parser.add_argument("--model", default="sam2_nano")
    parser.add_argument("--checkpoint", default=None, help="default: the weights that ship with the model")
    parser.add_argument("--prompts", nargs="+", default=["click", "box"], choices=PROMPTS)
    parser.add_argument("--fps", type=float, default=30.0, help="frames a second of the 12 s long scene")
    parser.add_argument("--seconds", type=float, default=12.0, help="how much of the scene")
    parser.add_argument("--picture", type=Path, default=None, help="write a strip of the last prompt kind")
    add_tracking_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    tracker = build_tracker(arguments.model, checkpoint=arguments.checkpoint)
    choices = tracking_options(arguments, tracker)
    policy = POLICIES[choices.pop("memory")]()
    scene = DemoScene(fps=arguments.fps)
    frames = [scene.render(t) for t in range(min(scene.length, round(arguments.seconds * arguments.fps)))]
    labels = np.stack([f.labels for f in frames])
    images = np.stack([f.image for f in frames])
    print(
        "| prompt | object | first frame | J | F | J last half | J of a static mask | absence recall | recovered "
        "| ID switches |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind in arguments.prompts:
        rng = np.random.default_rng(0)
        stream = tracker.open_stream(max_objects=len(scene.object_names), policy=policy, **choices)
        masks = np.zeros((len(scene.object_names), *labels.shape), bool)
        stream.step(images[0], 0)
        for k in range(len(scene.object_names)):
            masks[k, 0] = stream.add_prompt(prompt_for(labels[0] == k + 1, kind, rng)).masks[0].cpu().numpy()
        for t in range(1, len(images)):
            masks[:, t] = stream.step(images[t], t).masks.cpu().numpy()
        found = [judge(masks[k], labels, k + 1) for k in range(len(masks))]
        for name, figures in zip((*scene.object_names, "mean"), (*found, None), strict=True):
            values = average(found if figures is None else [figures])
            print(f"| {kind} | {name} | {' | '.join(f'{v:.3f}' for v in _in_order(values))} |", flush=True)
        if arguments.picture is not None:
            shown = np.zeros(labels.shape, np.uint8)
            for k in range(len(masks)):
                shown[masks[k]] = k + 1
            save_png(arguments.picture, strip(images, shown, count=8, height=120))


def _in_order(values: dict[str, float]) -> list[float]:
    return [values[k] for k in ("first", "j", "f", "j_late", "static", "absent", "again", "switched")]


if __name__ == "__main__":
    main()
