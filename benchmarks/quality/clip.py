"""A picture strip of a real video without truth: ``python -m benchmarks.quality.clip a.mp4 --box 300 0 520 400``."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.quality.strip import save_png, strip
from sam_core import Prompt, build_tracker


def main() -> None:
    """Track boxes given on the first frame through a video file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.clip", description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--box", nargs=4, type=float, action="append", required=True, metavar=("X0", "Y0", "X1", "Y1"))
    parser.add_argument("--model", default="sam2_nano")
    parser.add_argument("--checkpoint", default=None, help="default: the weights that ship with the model")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--picture", type=Path, default=Path("clip.png"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tracker = build_tracker(arguments.model, checkpoint=arguments.checkpoint)
    stream = tracker.open_stream(max_objects=len(arguments.box))
    capture = cv2.VideoCapture(str(arguments.video))
    images, shown = [], []
    for t in range(arguments.frames):
        there, frame = capture.read()
        if not there:
            break
        image = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        result = stream.step(image, t)
        if t == 0:
            masks = torch.cat([stream.add_prompt(Prompt(box=box)).masks for box in arguments.box]).cpu().numpy()
        else:
            masks = result.masks.cpu().numpy()
        labels = np.zeros(image.shape[:2], np.uint8)
        for k, mask in enumerate(masks):
            labels[mask] = k + 1
        images.append(image)
        shown.append(labels)
    capture.release()
    if not images:
        raise SystemExit(f"{arguments.video} cannot be read as a video")
    save_png(arguments.picture, strip(np.stack(images), np.stack(shown), count=6, height=130))
    print(f"{len(images)} frames, {arguments.picture}")


if __name__ == "__main__":
    main()
