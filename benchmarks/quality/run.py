"""Track the objects of a benchmark clip, and time a frame."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality.metrics import ObjectFigures, judge
from sam_core import Prompt
from sam_core.streaming import MemoryPolicy, Tracker
from sam_core.training.generator import Clip

__all__ = ["PROMPTS", "frame_time", "prompt_for", "track"]

PROMPTS = ("click", "box", "mask")
_FILLING = 24  # frames until any policy's memory is full
_LEAST = 100  # px on the first frame at 320 px; smaller objects are not prompted


def prompt_for(mask: NDArray[np.bool_], kind: str, rng: np.random.Generator) -> Prompt:
    """Return a prompt like a user's: a click well inside of the object, a slightly inexact box, or the mask."""
    if kind == "mask":
        return Prompt(mask=mask)
    ys, xs = np.nonzero(mask)
    if kind == "box":
        height, width = mask.shape
        slack = rng.uniform(-0.04, 0.06, 4) * np.array([np.ptp(xs) + 1, np.ptp(ys) + 1] * 2)
        x0, y0 = max(xs.min() - slack[0], 0), max(ys.min() - slack[1], 0)
        x1, y1 = min(xs.max() + 1 + slack[2], width), min(ys.max() + 1 + slack[3], height)
        return Prompt(box=[float(x0), float(y0), float(x1), float(y1)])
    import cv2

    inside = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    good = np.flatnonzero(inside.ravel() >= 0.6 * inside.max())
    y, x = divmod(int(good[int(rng.integers(len(good)))]), mask.shape[1])
    return Prompt(points=[[float(x), float(y)]], labels=[1])


def track(
    tracker: Tracker,
    clip: Clip,
    kind: str,
    seed: int,
    policy: MemoryPolicy | None = None,
    objects: Sequence[int] | None = None,
    **choices: str | None,
) -> tuple[list[ObjectFigures], NDArray[np.uint8]]:
    """Track objects of a clip that show on its first frame, each prompted there once: all, or those of `objects`.

    ``policy`` and ``choices`` are arguments of `Tracker.open_stream`; the model's own are used without them.

    Returns:
        Figures per object, and the masks as labels uint8 (T, H, W) for pictures.
    """
    rng = np.random.default_rng(seed)
    least = _LEAST * (clip.labels.shape[-1] / 320) ** 2
    labels = range(1, clip.objects + 1) if objects is None else objects
    wanted = [k for k in labels if (clip.labels[0] == k).sum() >= least]
    stream = tracker.open_stream(max_objects=max(len(wanted), 1), policy=policy, **choices)
    masks = np.zeros((len(wanted), *clip.labels.shape), bool)
    stream.step(clip.images[0], 0)
    for row, k in enumerate(wanted):
        answer = stream.add_prompt(prompt_for(clip.labels[0] == k, kind, rng))
        masks[row, 0] = answer.masks[0].cpu().numpy()
    for t in range(1, len(clip.images)):
        masks[:, t] = stream.step(clip.images[t], t).masks.cpu().numpy()
    shown = np.zeros(clip.labels.shape, np.uint8)
    for row, k in enumerate(wanted):
        shown[masks[row]] = k
    return [judge(masks[row], clip.labels, k) for row, k in enumerate(wanted)], shown


def frame_time(tracker: Tracker, clip: Clip, objects: int, threads: int, frames: int) -> float:
    """Return the mean time of a step in ms with ``objects`` boxes, after the memory bank has filled."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    stream = tracker.open_stream(max_objects=objects)
    stream.step(clip.images[0], 0)
    rng = np.random.default_rng(0)
    for k in range(objects):
        mask = clip.labels[0] == k % clip.objects + 1
        if mask.any():
            stream.add_prompt(prompt_for(mask, "box", rng))
    times = []
    for t in range(frames + _FILLING):
        begin = time.perf_counter()
        stream.step(clip.images[(t + 1) % len(clip.images)], t)
        times.append(time.perf_counter() - begin)
    torch.set_num_threads(before)
    return 1000 * float(np.mean(times[_FILLING:]))
