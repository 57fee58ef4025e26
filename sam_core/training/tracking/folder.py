"""A user's folder of annotated data: which layout it has, and which of its clips are held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from sam_core.training.generator import Clip
from sam_core.training.tracking.coco import annotation_files, find_images
from sam_core.training.tracking.davis import find_videos
from sam_core.training.tracking.pictures import PictureShape

__all__ = ["ClipSource", "draw_some", "find_clips", "hold_out"]

T = TypeVar("T")


class ClipSource(Protocol):
    """What random clips are drawn from: a video, or a still image."""

    @property
    def name(self) -> str:
        """What it is called in its folder."""

    def clip(self, rng: np.random.Generator, shape: PictureShape, frames: int, stride: int) -> Clip:
        """Draw a clip of ``frames`` pictures of a shape, at most ``stride`` frames apart.

        Raises:
            ValueError: a file is damaged; the message names it.
        """


def find_clips(folder: str | Path, split: str | None = None) -> Sequence[ClipSource]:
    """List what is annotated in a folder in the layout of DAVIS or COCO.

    Args:
        folder: where.
        split: which part, as the layout names it (``2017/train``, ``train2017``); None for all there is.

    Raises:
        ValueError: there is no such folder, it has another layout, or its contents are wrong.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}.")
    videos = (root / "JPEGImages").is_dir() and (root / "Annotations").is_dir()
    images = bool(annotation_files(root))
    if videos and images:
        raise ValueError(f"{root} has both videos (JPEGImages) and instances of COCO: keep them in two folders.")
    if videos:
        return find_videos(root, split)
    if images:
        return find_images(root, split)
    raise ValueError(
        f"{root} has neither the folders JPEGImages and Annotations (the layout of DAVIS) nor "
        "annotations/instances_*.json (that of COCO)."
    )


def hold_out(items: Sequence[T], share: float, seed: int) -> tuple[list[T], list[T]]:
    """Split into what is trained on and what is only evaluated on: at least one of each where there are two.

    Args:
        items: in a fixed order.
        share: of those that are held out; 0 for none.
        seed: chooses which.
    """
    count = min(math.ceil(share * len(items)), len(items) - 1) if share > 0 else 0
    chosen = set(np.random.default_rng(seed).permutation(len(items))[:count].tolist())
    return [x for k, x in enumerate(items) if k not in chosen], [x for k, x in enumerate(items) if k in chosen]


def draw_some(items: Sequence[T], most: int, seed: int) -> list[T]:
    """Draw up to ``most`` of some items at random, in their order; the same ones for a seed."""
    chosen = np.random.default_rng(seed).permutation(len(items))[:most]
    return [items[k] for k in sorted(chosen.tolist())]
