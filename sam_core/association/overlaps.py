"""How the tracks of a concept that overlap are resolved: on every frame, whether it is searched or not.

Source: SAM 3 (Carion et al., 2025), video; the released code suppresses by recent occlusion, and before memory by the
share of a mask that is left.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sam_core.association.matching import mask_ious

NO_OBJECT = -10.0  # logit of a mask that is taken away


def recently_occluded(masks: Tensor, last_occluded: Sequence[int], concepts: Sequence[int], iou: float) -> Tensor:
    """Tell which tracks give way to another one that they overlap.

    Args:
        masks: (M, h, w) bool.
        last_occluded: for each track the newest frame on which it was occluded; -1 for none.
        concepts: for each track the number of its concept; tracks of different concepts don't compete.
        iou: masks overlap from this IoU on, above 0 … 1.

    Returns:
        (M,) bool: those that were occluded more recently than one that was occluded before at all.
    """
    if len(masks) < 2:
        return torch.zeros(len(masks), dtype=torch.bool, device=masks.device)
    when = torch.tensor(last_occluded, device=masks.device)
    same = _same(concepts, masks)
    close = (mask_ious(masks, masks) >= iou) & same
    return (close & (when[:, None] > when[None]) & (when[None] > -1)).any(dim=1)


def shrunk(logits: Tensor, concepts: Sequence[int], least_share: float) -> Tensor:
    """Take masks away that lose most of their area to others, where each place goes to the highest logit.

    Args:
        logits: (M, h, w).
        concepts: for each track the number of its concept; tracks of different concepts don't compete.
        least_share: of its area that a mask must keep, 0 … 1.

    Returns:
        (M, h, w) logits: those of masks that keep too little are at most -10.
    """
    if len(logits) < 2:
        return logits
    groups = torch.tensor(concepts, device=logits.device)
    won = torch.zeros_like(logits, dtype=torch.bool)
    for concept in sorted(set(concepts)):
        rows = torch.nonzero(groups == concept)[:, 0]
        winner = logits[rows].argmax(dim=0)
        won[rows] = winner[None] == torch.arange(len(rows), device=logits.device)[:, None, None]
    area = (logits > 0).sum(dim=(1, 2)).clamp(min=1)
    keeps = ((logits > 0) & won).sum(dim=(1, 2)) / area >= least_share
    # A concept's only track has nobody to lose to.
    keeps |= _same(concepts, logits).sum(dim=1) == 1
    return torch.where(keeps[:, None, None], logits, logits.clamp(max=NO_OBJECT))


def _same(concepts: Sequence[int], like: Tensor) -> Tensor:
    groups = torch.tensor(concepts, device=like.device)
    return groups[:, None] == groups[None]
