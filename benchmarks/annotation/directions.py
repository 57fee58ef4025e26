"""Two directions from a prompt in the middle, against one direction from either end, on the held-out clips.

The ends are given; the frame in the middle is the annotator's to choose: the one on which the objects are seen best.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.annotation.recording import write_bag, write_prompts
from benchmarks.quality.clips import LEVELS, make_benchmark_clip
from sam_ros.annotation.__main__ import main
from sam_ros.annotation.records import decode_mask
from sam_ros.annotation.results import Results

__all__ = ["measure"]

_LEAST = 100  # px of an object on a prompted frame
_FEW = 30  # px: with fewer visible pixels a frame does not count
_WAYS = {
    "forward": "forward from the first frame",
    "backward": "backward from the last",
    "both": "both from the middle",
}


def measure(folder: Path, clips: int, model: Sequence[str]) -> list[str]:
    """Track the objects that are seen on the first, the chosen and the last frame; return the rows of a table.

    J leaves the three prompted frames out, so that all ways are judged on the same frames.
    """
    rows = [f"| level | objects | {' | '.join(f'J, {text}' for text in _WAYS.values())} |", "|---|---|---|---|---|"]
    for level in LEVELS:
        js: dict[str, list[float]] = {way: [] for way in _WAYS}
        for seed in range(clips):
            clip = make_benchmark_clip(level, seed)
            last = len(clip.images) - 1
            ends = [k for k in range(1, clip.objects + 1) if _seen(clip.labels, k, (0, last))]
            middle = _clearest(clip.labels, ends) if ends else last // 2
            objects = [k for k in ends if _seen(clip.labels, k, (middle,))]
            if not objects:
                continue
            prompted = {"forward": 0, "backward": last, "both": middle}
            bag = write_bag(folder / f"{level}_{seed}", clip.images)
            for way, frame in prompted.items():
                run = folder / f"{level}_{seed}_{way}"
                prompts = write_prompts(folder / f"{run.name}.yaml", clip.labels[frame], objects, frame)
                request = [bag, "-o", run, "--prompts", prompts, "--direction", way, "--write", "csv", "--quiet"]
                with redirect_stdout(StringIO()):
                    failed = main([str(one) for one in ("track", *request, *model)])
                if failed:
                    raise RuntimeError(f"{run.name} failed")
                js[way] += _js(run, clip.labels, objects, set(prompted.values()))
        means = " | ".join(f"{np.mean(values):.3f}" for values in js.values())
        rows.append(f"| {level} | {len(js['both'])} | {means} |")
    return rows


def _seen(labels: NDArray[np.uint8], k: int, frames: Sequence[int]) -> bool:
    """Tell whether an object is seen on each of some frames."""
    return all((labels[frame] == k).sum() >= _LEAST for frame in frames)


def _clearest(labels: NDArray[np.uint8], objects: Sequence[int]) -> int:
    """Return the frame of the middle third on which the least visible object shows the most of itself."""
    frames = range(len(labels) // 3, 2 * len(labels) // 3)
    areas = np.array([[(labels[frame] == k).sum() for k in objects] for frame in frames], float)
    shares = areas / np.array([max((frame == k).sum() for frame in labels) for k in objects])
    return frames[int(shares.min(axis=1).argmax())]


def _js(run: Path, labels: NDArray[np.uint8], objects: Sequence[int], left_out: set[int]) -> list[float]:
    """Return the mean IoU of each object over the frames on which it is visible."""
    ious: dict[int, list[float]] = {k: [] for k in objects}
    for record in Results.of_run(run).read():
        masks = {one.object_id: decode_mask(one.mask, record.size) > 0 for one in record.objects}
        for object_id, k in enumerate(objects, 1):
            real = labels[record.frame] == k
            if record.frame in left_out or real.sum() < _FEW:
                continue
            mask = masks.get(object_id, np.zeros_like(real))
            ious[k].append(float((mask & real).sum() / (mask | real).sum()))
    return [float(np.mean(values)) for values in ious.values()]
