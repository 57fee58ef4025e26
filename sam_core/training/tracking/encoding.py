"""Image features of clips: all pictures at once, or one at a time to save memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint

from sam_core.sam2.features import ImageFeatures
from sam_core.training.tracking.batches import Batch
from sam_core.training.tracking.interaction import Promptable

__all__ = ["encode_clips"]


def encode_clips(
    model: Promptable, batch: Batch, silent_frames: range, checkpointing: bool
) -> tuple[Callable[[int], ImageFeatures], ImageFeatures]:
    """Encode all pictures, those of ``silent_frames`` frames without a gradient.

    With ``checkpointing``, what the encoder computes inside is kept for one picture at a time and computed again for
    the gradient ("Training Deep Nets with Sublinear Memory Cost", Chen et al., 2016): a third more time, and memory
    that does not grow with a clip's length but by the features. The numbers stay the same, if batch normalisation keeps
    its statistics (`refuse_live_norm_statistics`).

    Returns:
        A function from a frame to the features of its objects, and the features of all pictures with a gradient.
    """
    frames = batch.images.shape[1]
    supervised = [t for t in range(frames) if t not in silent_frames]
    images = model.normalise(batch.images[:, supervised].flatten(0, 1))
    if checkpointing and torch.is_grad_enabled():
        features = _joined([checkpoint(model.encode_image, image, use_reentrant=False) for image in images.split(1)])
    else:
        features = model.encode_image(images)
    with torch.no_grad():
        still = (
            model.encode_image(model.normalise(batch.images[:, list(silent_frames)].flatten(0, 1)))
            if silent_frames
            else None
        )

    def view(t: int) -> ImageFeatures:
        if t in silent_frames:
            assert still is not None
            return still.select(batch.clip * len(silent_frames) + silent_frames.index(t))
        return features.select(batch.clip * len(supervised) + supervised.index(t))

    return view, features


def _joined(parts: list[ImageFeatures]) -> ImageFeatures:
    """Put features of single images together as a batch."""
    fine, middle = (torch.cat([part.high_res[level] for part in parts]) for level in range(2))
    return ImageFeatures(torch.cat([part.embedding for part in parts]), (fine, middle), parts[0].position)
