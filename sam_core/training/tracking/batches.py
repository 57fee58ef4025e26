"""Batches of clips: pictures, and the truth of some objects of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.training.generator import Clip, make_clip
from sam_core.training.scenes import SceneSettings

__all__ = ["Batch", "NoObjectError", "Truth", "collate", "synthetic_batch"]

_SURE = 6  # px at 192 px: an object with fewer visible pixels is neither clearly there nor clearly gone


class NoObjectError(ValueError):
    """No clip of a batch has an object in its first frame."""


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


def collate(clips: list[Clip], objects: int, rng: np.random.Generator) -> Batch:
    """Choose up to ``objects`` objects a clip that show in its first frame, preferably ones that are absent later.

    Raises:
        NoObjectError: no clip has an object in its first frame.
    """
    targets, visible, sure, index = [], [], [], []
    least = _SURE * (clips[0].labels.shape[-1] / 192) ** 2
    for b, clip in enumerate(clips):
        if not clip.objects:
            continue
        counts = np.stack([(clip.labels == k + 1).sum((1, 2)) for k in range(clip.objects)])  # (N, T)
        shown = np.flatnonzero(counts[:, 0] >= 8 * least)
        if not len(shown):
            continue
        vanishing = (counts[shown] == 0).any(1)
        order = np.argsort(rng.random(len(shown)) - 0.35 * vanishing)
        for k in shown[order][:objects]:
            mask = torch.from_numpy(clip.labels == k + 1).float()
            targets.append((F.avg_pool2d(mask[:, None], 2)[:, 0] >= 0.5).float())
            visible.append(torch.from_numpy(counts[k] >= least))
            sure.append(torch.from_numpy((counts[k] >= least) | (counts[k] == 0)))
            index.append(b)
    if not index:
        raise NoObjectError("No object shows in the first frame of any clip.")
    images = torch.from_numpy(np.stack([c.images for c in clips]))
    return Batch(images, torch.tensor(index), torch.stack(targets), torch.stack(visible), torch.stack(sure))


def synthetic_batch(rng: np.random.Generator, settings: SceneSettings, clips: int, objects: int) -> Batch:
    """Generate a batch."""
    while True:
        try:
            return collate([make_clip(rng, settings) for _ in range(clips)], objects, rng)
        except NoObjectError:
            continue
