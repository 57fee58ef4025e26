"""Losses of SAM and SAM 2.

Focal 20 : dice 1 : IoU 1 : object score 1, and of three candidate masks only the best is supervised ("Segment
Anything", Kirillov et al., 2023, section 3 and appendix A; SAM 2, Ravi et al., 2024, appendix D.2.2). The mask losses
count only where the object is visible.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["FrameLoss", "LossWeights", "dice_loss", "focal_loss", "frame_loss", "grid_loss", "mask_iou"]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts; ``alpha`` and ``gamma`` are the focal loss's (alpha < 0: no class weighting).

    ``absent`` weighs the object score's loss on frames without the object: w moves the score at which the model is in
    two minds by -ln w, so that it says "absent" when it is no longer fairly sure.
    ``auxiliary`` weighs the training-only readouts. ``size`` weighs the mean square of the image features above 1: they
    have no norm of their own, and once they had grown to 60 times the mask embedding (seen after 1,800 steps on still
    images), memories held no mask any more and video training stood still.
    """

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    score: float = 1.0
    absent: float = 1.0
    auxiliary: float = 0.0
    size: float = 0.0
    alpha: float = 0.5
    gamma: float = 2.0


@dataclass(frozen=True)
class FrameLoss:
    """Loss of O objects on one frame.

    Attributes:
        total: () weighted sum, differentiable.
        parts: unweighted means by name, detached.
        iou: (O,) true IoU of the candidate that the model would choose (by its predicted IoU), detached.
    """

    total: Tensor
    parts: dict[str, Tensor]
    iou: Tensor


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


def _mean_where(values: Tensor, where: Tensor) -> Tensor:
    weight = where.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1)


def frame_loss(
    masks: Tensor, ious: Tensor, score: Tensor, target: Tensor, visible: Tensor, sure: Tensor, weights: LossWeights
) -> FrameLoss:
    """Compute the loss of O objects on one frame.

    Args:
        masks: (O, M, h, w) logits, before absence is applied.
        ious: (O, M) predicted IoU.
        score: (O, 1) object score logits.
        target: (O, H, W) float 0/1; the logits are resized to it.
        visible: (O,) bool, the object is in the frame.
        sure: (O,) bool, the frame says clearly whether it is (False for a few pixels).
        weights: weights of the parts.
    """
    logits = masks.float()
    if logits.shape[-2:] != target.shape[-2:]:
        logits = F.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=False)
    truth = target[:, None].expand_as(logits)
    focal = focal_loss(logits, truth, weights.alpha, weights.gamma)  # (O, M)
    dice = dice_loss(logits, truth)
    with torch.no_grad():
        actual = mask_iou(logits, truth)
    best = (weights.focal * focal + weights.dice * dice).detach().argmin(1, keepdim=True)
    focal, dice = focal.gather(1, best)[:, 0], dice.gather(1, best)[:, 0]
    quality = (ious.float() - actual).abs().mean(1)
    seen = F.binary_cross_entropy_with_logits(score[:, 0].float(), visible.float(), reduction="none")
    seen = torch.where(visible, seen, weights.absent * seen)
    parts = {
        "focal": _mean_where(focal, visible),
        "dice": _mean_where(dice, visible),
        "iou": _mean_where(quality, visible),
        "score": _mean_where(seen, sure),
    }
    total = sum((getattr(weights, name) * value for name, value in parts.items()), start=logits.new_zeros(()))
    chosen = actual.gather(1, ious.argmax(1, keepdim=True))[:, 0]
    return FrameLoss(total, {name: value.detach() for name, value in parts.items()}, chosen)


def grid_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the auxiliary loss of masks on the feature grid: cross-entropy and dice against soft truth.

    Args:
        logits: (O, h, w).
        target: (O, H, W) float 0/1; averaged down to the grid.
    """
    soft = F.adaptive_avg_pool2d(target[:, None], (logits.shape[-2], logits.shape[-1]))[:, 0]
    cross = F.binary_cross_entropy_with_logits(logits.float(), soft)
    return 2 * cross + dice_loss(logits.float(), soft).mean()
