"""Are saved objects found again? ``python -m benchmarks.quality.saved --clips 40``.

One process prompts every object of a clip with a box on its first frame and saves it. Another one loads each object
alone into a stream that begins at a later frame of the clip, and tracks on. *Found*: within the given frames the object
counts as tracked while its mask has an IoU of at least 0.5 with the truth. *Wrong*: on one of them it counts as tracked
while its mask fits another thing better, or nothing; *at first*: on the first on which it counts as tracked.
*Elsewhere*: the same in the next clip, where the object is not, so that each one that counts as tracked is wrong.
Objects that are not visible on the later frame are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality.clips import LEVELS, make_benchmark_clip
from benchmarks.quality.run import prompt_for
from sam_core import Tracker, TrackState, build_tracker
from sam_core.saved_objects import load_object, save_object

_FEWEST = 30  # px at 320 px: an object with fewer is not visible
_SMALLEST = 100  # px at 320 px: a smaller object is not prompted
_FOUND = 0.5  # IoU that counts as found
_NOTHING = 0.1  # IoU up to which a mask is on nothing


@dataclass(frozen=True)
class Outcome:
    """What became of a loaded object.

    Attributes:
        found: whether it was found.
        wrong: whether something else was taken for it on any frame.
        wrong_at_first: whether that was so on the first frame on which it counts as tracked.
    """

    found: bool
    wrong: bool
    wrong_at_first: bool


def start_frame(seed: int) -> int:
    """Return the frame of a clip at which the second process begins."""
    return 20 + 7 * seed % 20


def save_objects(tracker: Tracker, level: str, seed: int, folder: Path, size: int) -> None:
    """Save each object of a clip as it was prompted on its first frame."""
    clip = make_benchmark_clip(level, seed, size=size)
    least = _SMALLEST * (size / 320) ** 2
    rng = np.random.default_rng(seed)
    stream = tracker.open_stream(max_objects=clip.objects)
    stream.step(clip.images[0], 0)
    for label in range(1, clip.objects + 1):
        truth = clip.labels[0] == label
        if truth.sum() < least:
            continue
        object_id = stream.add_prompt(prompt_for(truth, "box", rng)).object_ids[0]
        save_object(folder / f"{level}_{seed}_{label}.safetensors", tracker, stream, object_id)


def look_for(tracker: Tracker, path: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8], label: int) -> Outcome:
    """Load an object and track it.

    Args:
        tracker: the weights.
        path: the file.
        images: (T, H, W, 3).
        labels: (T, H, W), the truth.
        label: number of the object in it; 0 where it is not there.
    """
    stream = tracker.open_stream(max_objects=1)
    object_id = load_object(path, tracker, stream)
    found, wrong = False, list[bool]()
    for number, (image, truth) in enumerate(zip(images, labels, strict=True)):
        result = stream.step(image, number)
        mask = result.masks[0].cpu().numpy()
        if result.statuses[object_id].state is not TrackState.TRACKED or not mask.any():
            continue
        ious = {k: _iou(mask, truth == k) for k in range(1, int(labels.max()) + 1)}
        own = ious.pop(label, 0.0)
        found |= own >= _FOUND
        wrong.append(own <= max([_NOTHING, *ious.values()]))
    return Outcome(found, any(wrong), any(wrong[:1]))


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    union = int((a | b).sum())
    return float((a & b).sum()) / union if union else 0.0


def outcomes(
    tracker: Tracker, level: str, clips: int, folder: Path, size: int, within: int
) -> dict[str, list[Outcome]]:
    """Look for all saved objects of a level, in their own clip and in the next one."""
    least = _FEWEST * (size / 320) ** 2
    same, elsewhere = [], []
    for seed in range(clips):
        clip, other = (make_benchmark_clip(level, k, size=size) for k in (seed, seed + 1))
        frames = slice(start_frame(seed), start_frame(seed) + within)
        for label in range(1, clip.objects + 1):
            path = folder / f"{level}_{seed}_{label}.safetensors"
            if not path.exists():
                continue
            if (clip.labels[frames.start] == label).sum() >= least:
                same.append(look_for(tracker, path, clip.images[frames], clip.labels[frames], label))
            elsewhere.append(look_for(tracker, path, other.images[frames], other.labels[frames], 0))
        print(f"{level} {seed + 1}/{clips}", end="\r", file=sys.stderr, flush=True)
    return {"same": same, "elsewhere": elsewhere}


def main() -> None:
    """Save in one process, load in another, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.saved", description=__doc__)
    parser.add_argument("--model", default="sam2_nano")
    parser.add_argument("--checkpoint", default=None, help="default: the weights that ship with the model")
    parser.add_argument("--device", default=None)
    parser.add_argument("--dtype", default=None, choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE", help="of the model's configuration")
    parser.add_argument("--levels", nargs="+", default=["clear"], choices=list(LEVELS))
    parser.add_argument("--clips", type=int, default=40, help="clips a level")
    parser.add_argument("--size", type=int, default=320, help="side of the pictures, px")
    parser.add_argument("--within", type=int, default=15, help="frames in which an object has to be found")
    parser.add_argument("--json", type=Path, default=None, help="write all figures here")
    parser.add_argument("--save", type=Path, default=None, help=argparse.SUPPRESS)  # the first process
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if arguments.save is None:
        _save_and_look(arguments)
        return
    tracker = _built(arguments)
    for level in arguments.levels:
        for seed in range(arguments.clips):
            save_objects(tracker, level, seed, arguments.save, arguments.size)


def _built(arguments: argparse.Namespace) -> Tracker:
    return build_tracker(arguments.model, arguments.checkpoint, arguments.device, arguments.dtype, arguments.overrides)


def _save_and_look(arguments: argparse.Namespace) -> None:
    everything: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "benchmarks.quality.saved", *sys.argv[1:], "--save", name]
        subprocess.run(command, check=True)
        tracker = _built(arguments)
        print(f"| level | scene | objects | found within {arguments.within} | wrong at first | wrong |")
        print("|---|---|---|---|---|---|", flush=True)
        for level in arguments.levels:
            found = outcomes(tracker, level, arguments.clips, Path(name), arguments.size, arguments.within)
            for scene, ones in found.items():
                shares = [float(np.mean([getattr(one, field.name) for one in ones])) for field in fields(Outcome)]
                everything[f"{level} {scene}"] = {"objects": len(ones), "found": shares[0], "wrong": shares[1]}
                cells = (f"{shares[0]:.3f}" if scene == "same" else "–", f"{shares[2]:.3f}", f"{shares[1]:.3f}")
                print(f"| {level} | {scene} | {len(ones)} | {' | '.join(cells)} |", flush=True)
    print(f"\n{arguments.clips} clips a level, {arguments.model}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
