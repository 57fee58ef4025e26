"""A user's own videos with truth: folders in the layout of DAVIS, MOSE or LVOS.

``JPEGImages/[RESOLUTION/]VIDEO/00000.jpg`` and ``Annotations/[RESOLUTION/]VIDEO/00000.png``, as a split of each of the
three has it. Every picture is tracked; those with a mask are judged. An object is prompted on the first mask that shows
it, so it may come in later (LVOS), and masks may be sparse.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.metrics import ObjectFigures, judge
from benchmarks.quality.run import prompt_for
from sam_core.streaming import MemoryPolicy, Tracker
from sam_core.training.tracking.davis import Video, find_videos, read_mask

__all__ = ["chosen_videos", "track_video"]

_LEAST = 100  # px of an object at a width of 320 px; one that is never larger is not prompted


def chosen_videos(root: Path, names: Sequence[str]) -> list[Video]:
    """Return the annotated videos of a folder, or those named.

    Raises:
        ValueError: the folder has another layout, or no such video.
    """
    videos = {video.name: video for video in find_videos(root)}
    unknown = sorted(set(names) - videos.keys())
    if unknown:
        raise ValueError(f"{root} has no video {', '.join(unknown)}; it has {', '.join(videos)}")
    return [videos[name] for name in names or videos]


def track_video(
    tracker: Tracker, video: Video, kind: str, seed: int, policy: MemoryPolicy, size: int
) -> list[ObjectFigures]:
    """Track all objects of a video, each prompted once, and judge them on the frames that have a mask.

    Args:
        tracker: the weights.
        video: pictures and masks.
        kind: of the prompts: one of `run.PROMPTS`.
        seed: of the prompts' inexactness.
        policy: of the memory.
        size: shorter side to which pictures and masks are reduced, px; smaller ones stay as they are.

    Returns:
        Figures per object that was prompted, in the order of their numbers.

    Raises:
        ValueError: a picture cannot be read, or the masks show no object that is large enough.
    """
    truth = dict(video.frames)
    labels = {t: _reduced(read_mask(truth[path]), size) for t, path in enumerate(video.images) if path in truth}
    first = _first_frames(labels)
    if not first:
        raise ValueError(f"no mask of {video.name} shows an object that is large enough to be prompted")
    rng = np.random.default_rng(seed)
    stream = tracker.open_stream(max_objects=len(first), policy=policy)
    ids: dict[int, int] = {}
    masks: dict[int, dict[int, NDArray[np.uint8]]] = {label: {} for label in first}  # packed: a video may be long
    for t, path in enumerate(video.images):
        result = stream.step(_read(path, size), t)
        shown = dict(zip(result.object_ids, result.masks.cpu().numpy(), strict=True))
        for label in [label for label, begin in first.items() if begin == t]:
            answer = stream.add_prompt(prompt_for(labels[t] == label, kind, rng))
            ids[label] = answer.object_ids[0]
            shown[ids[label]] = answer.masks[0].cpu().numpy()
        if t in labels:
            for label, object_id in ids.items():
                masks[label][t] = np.packbits(shown[object_id], axis=1)
    return [judge(_unpacked(masks[k], labels), np.stack([labels[t] for t in masks[k]]), k) for k in sorted(first)]


def _first_frames(labels: dict[int, NDArray[np.uint8]]) -> dict[int, int]:
    """Return for each object the first frame on which it is large enough to be prompted."""
    first: dict[int, int] = {}
    for t, truth in labels.items():
        least = _LEAST * (truth.shape[1] / 320) ** 2
        for label, count in enumerate(np.bincount(truth.ravel())):
            if label and count >= least:
                first.setdefault(label, t)
    return first


def _unpacked(masks: dict[int, NDArray[np.uint8]], labels: dict[int, NDArray[np.uint8]]) -> NDArray[np.bool_]:
    return np.stack([np.unpackbits(mask, axis=1, count=labels[t].shape[1]).astype(bool) for t, mask in masks.items()])


def _read(path: Path, size: int) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} cannot be read as an image")
    return np.asarray(cv2.cvtColor(_reduced(np.asarray(image, np.uint8), size), cv2.COLOR_BGR2RGB), np.uint8)


def _reduced(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Reduce a picture (H, W, 3), or labels (H, W), to a shorter side."""
    height, width = picture.shape[:2]
    share = size / min(height, width)
    if share >= 1:
        return picture
    how = cv2.INTER_AREA if picture.ndim == 3 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, (round(width * share), round(height * share)), interpolation=how), np.uint8)
