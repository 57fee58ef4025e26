"""A user's own videos for fine-tuning: a folder of frames and masks in the layout of DAVIS.

``JPEGImages/<resolution>/<video>/00000.jpg`` (or .png) and ``Annotations/<resolution>/<video>/00000.png``; the
``<resolution>`` level may be missing. Masks are indexed or grey images: 0 is background, k the pixels of object k,
255 is ignored as background. Frames without a mask are skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Picture

from sam_core.synthetic.sprites import Image
from sam_core.training.generator import Clip

__all__ = ["Video", "clip_from", "find_videos", "read_mask"]


@dataclass(frozen=True)
class Video:
    """One annotated video.

    Attributes:
        name: its folder, below that of all masks.
        frames: pairs of frame and mask files in order.
        images: the files of all frames in order, with a mask or without.
    """

    name: str
    frames: tuple[tuple[Path, Path], ...]
    images: tuple[Path, ...]


def find_videos(root: str | Path) -> list[Video]:
    """List the annotated videos under ``root``.

    Raises:
        ValueError: the layout is not there, or no frame has a mask.
    """
    root = Path(root)
    masks, images = root / "Annotations", root / "JPEGImages"
    if not masks.is_dir() or not images.is_dir():
        raise ValueError(f"{root} needs the folders JPEGImages and Annotations (the layout of DAVIS)")
    videos = []
    for folder in sorted({p.parent for p in masks.rglob("*.png")}):
        pictures = {p.stem: p for p in sorted((images / folder.relative_to(masks)).glob("*")) if p.suffix in _SUFFIXES}
        pairs = [(pictures[m.stem], m) for m in sorted(folder.glob("*.png")) if m.stem in pictures]
        if pairs:
            videos.append(Video(str(folder.relative_to(masks)), tuple(pairs), tuple(pictures.values())))
    if not videos:
        raise ValueError(f"{root}: no frame in JPEGImages has a mask of the same name in Annotations")
    return videos


_SUFFIXES = (".jpg", ".jpeg", ".png")


def read_mask(path: Path) -> Image:
    """Read an indexed or grey mask as uint8 (H, W) of object numbers."""
    with Picture.open(path) as picture:
        labels = np.array(picture if picture.mode in ("P", "L") else picture.convert("L"), np.uint8)
    labels[labels == 255] = 0
    return labels


def clip_from(video: Video, rng: np.random.Generator, size: int, frames: int, stride: int = 3) -> Clip:
    """Cut a random clip out of a video, resized to size x size; some are mirrored or run backwards.

    Args:
        video: where from; a short one repeats its last frame.
        rng: source of randomness.
        size: side of the pictures, px.
        frames: pictures in the clip.
        stride: largest step between two frames.
    """
    length = len(video.frames)
    step = int(rng.integers(1, max(1, min(stride, (length - 1) // max(frames - 1, 1))) + 1))
    first = int(rng.integers(0, max(length - step * (frames - 1), 1)))
    chosen = [min(first + step * t, length - 1) for t in range(frames)]
    if rng.random() < 0.5:
        chosen.reverse()
    mirrored = rng.random() < 0.5
    images = np.empty((frames, size, size, 3), np.uint8)
    labels = np.empty((frames, size, size), np.uint8)
    for t, k in enumerate(chosen):
        image = cv2.imread(str(video.frames[k][0]), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{video.frames[k][0]} cannot be read as an image")
        image = cv2.cvtColor(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
        mask = cv2.resize(read_mask(video.frames[k][1]), (size, size), interpolation=cv2.INTER_NEAREST)
        images[t] = image[:, ::-1] if mirrored else image
        labels[t] = mask[:, ::-1] if mirrored else mask
    present = [int(k) for k in np.unique(labels) if k]
    compact = np.zeros(256, np.uint8)
    compact[present] = np.arange(1, len(present) + 1)
    return Clip(images, compact[labels], len(present))
