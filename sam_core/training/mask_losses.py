"""Losses of masks: focal, dice, and the IoU that a mask really has."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["dice_loss", "focal_loss", "mask_iou"]


def focal_loss(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Return the sigmoid focal loss, mean over the last two dimensions.

    Source: "Focal Loss for Dense Object Detection" (Lin et al., 2017), equation 5.

    Args:
        logits: (..., H, W).
        target: (..., H, W), 0 or 1, same shape.
        alpha: weight of the positive class; negative for none.
        gamma: focusing exponent.

    Returns:
        (...).
    """
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    wrong = probability + target - 2 * probability * target  # 1 - p_t
    loss = cross * wrong**gamma
    if alpha >= 0:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    return loss.mean((-2, -1))


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - (2 p.t + 1) / (p + t + 1) over the last two dimensions (V-Net, Milletari et al., 2016; smoothed)."""
    probability = logits.sigmoid()
    overlap = (probability * target).sum((-2, -1))
    return 1 - (2 * overlap + 1) / (probability.sum((-2, -1)) + target.sum((-2, -1)) + 1)


def mask_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Return the IoU of ``logits > 0`` and a 0/1 target over the last two dimensions; 1 where both are empty."""
    mask, truth = logits > 0, target > 0.5
    union = (mask | truth).sum((-2, -1))
    overlap = (mask & truth).sum((-2, -1))
    return torch.where(union > 0, overlap / union.clamp(min=1), 1.0)
