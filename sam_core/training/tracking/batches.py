"""Batches of clips: pictures, and the truth of some objects of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam_core.training.generator import Clip, make_clip
from sam_core.training.scenes import SceneSettings

__all__ = ["Batch", "NoObjectError", "SmallestAreas", "Truth", "areas", "collate", "synthetic_batch"]

_TRIES = 50
_CELL = 4  # px of the model's image in one of a target


class NoObjectError(ValueError):
    """No clip of a batch has an object in its first frame."""


@dataclass(frozen=True)
class SmallestAreas:
    """How many pixels an object must show, in px of the model's image.

    Attributes:
        begins: on the first frame, where it is prompted; smaller ones are left out.
        visible: on any frame, to be there: with fewer it is neither clearly there nor clearly gone.
    """

    begins: float
    visible: float

    @classmethod
    def of_generated(cls, side: int) -> SmallestAreas:
        """Return those of generated clips, whose outlines are only as exact as their pictures of ``side`` px."""
        unit = (side / 192) ** 2
        return cls(begins=48 * unit, visible=6 * unit)

    @classmethod
    def of_annotated(cls, begins: float) -> SmallestAreas:
        """Return those of a user's masks, which say where an object is wherever they have a pixel of the target."""
        return cls(begins, visible=_CELL)


@dataclass(frozen=True)
class Truth:
    """What is true of O objects on one frame.

    Attributes:
        target: float (O, H, W), 0 or 1.
        visible: (O,) bool.
        sure: (O,) bool; False where only a few pixels show.
    """

    target: Tensor
    visible: Tensor
    sure: Tensor


@dataclass(frozen=True)
class Batch:
    """Clips and objects, ready for the unroll.

    Attributes:
        images: uint8 (B, T, S, S, 3) RGB.
        clip: (O,) which clip each object belongs to.
        targets: float (O, T, S/2, S/2), 0 or 1.
        visible: (O, T) bool.
        sure: (O, T) bool; False where only a few pixels show.
    """

    images: Tensor
    clip: Tensor
    targets: Tensor
    visible: Tensor
    sure: Tensor

    def truth(self, frame: int) -> Truth:
        """Return the truth of all objects on a frame."""
        return Truth(self.targets[:, frame], self.visible[:, frame], self.sure[:, frame])

    def to(self, device: torch.device) -> Batch:
        """Move everything to a device."""
        return Batch(*(x.to(device) for x in (self.images, self.clip, self.targets, self.visible, self.sure)))


def areas(clip: Clip) -> NDArray[np.int64]:
    """Return the visible pixels (N, T) of each object on each frame, in px of the model's image."""
    return np.stack([np.bincount(x.ravel(), minlength=clip.objects + 1)[1 : clip.objects + 1] for x in clip.labels], 1)


def collate(clips: list[Clip], objects: int, rng: np.random.Generator, smallest: SmallestAreas | None = None) -> Batch:
    """Choose up to ``objects`` objects a clip that show in its first frame, preferably ones that are absent later.

    Args:
        clips: of one size.
        objects: most of each clip.
        rng: source of randomness.
        smallest: areas; None for those of generated clips.

    Raises:
        NoObjectError: no clip has an object in its first frame.
    """
    smallest = smallest or SmallestAreas.of_generated(clips[0].labels.shape[-1])
    targets, visible, sure, index = [], [], [], []
    for b, clip in enumerate(clips):
        counts = areas(clip)
        shown = np.flatnonzero(counts[:, 0] >= smallest.begins)
        vanishing = (counts[shown] == 0).any(1)
        order = np.argsort(rng.random(len(shown)) - 0.35 * vanishing)
        chosen = 0
        for k in shown[order]:
            if chosen == objects:
                break
            mask = torch.from_numpy(clip.labels == k + 1).float()
            target = (F.avg_pool2d(mask[:, None], 2)[:, 0] >= 0.5).float()
            area = _CELL * target.sum((1, 2))  # a thin object may have pixels, but none in the target
            if not area[0]:
                continue
            here = area >= smallest.visible
            targets.append(target)
            visible.append(here)
            sure.append(here | torch.from_numpy(counts[k] == 0))
            index.append(b)
            chosen += 1
    if not index:
        raise NoObjectError("No object shows in the first frame of any clip.")
    images = torch.from_numpy(np.stack([c.images for c in clips]))
    return Batch(images, torch.tensor(index), torch.stack(targets), torch.stack(visible), torch.stack(sure))


def synthetic_batch(rng: np.random.Generator, settings: SceneSettings, clips: int, objects: int) -> Batch:
    """Generate a batch.

    Raises:
        ValueError: the settings give no object that is large enough.
    """
    for _ in range(_TRIES):
        try:
            return collate([make_clip(rng, settings) for _ in range(clips)], objects, rng)
        except NoObjectError:
            continue
    raise ValueError(f"{_TRIES} times in a row no generated clip began with an object: is scenes.radius too small?")
