"""Losses of SAM and SAM 2.

Focal 20 : dice 1 : IoU 1 : object score 1, and of three candidate masks only the best is supervised ("Segment
Anything", Kirillov et al., 2023, section 3 and appendix A; SAM 2, Ravi et al., 2024, appendix D.2.2). The mask losses
count only where the object is visible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.training.checks import Amount, Within
from sam_core.training.mask_losses import dice_loss, focal_loss, mask_iou

__all__ = ["FrameLoss", "LossWeights", "frame_loss", "grid_loss"]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts; ``alpha`` and ``gamma`` are the focal loss's (alpha < 0: no class weighting).

    ``absent`` weighs the object score's loss on frames without the object: a weight w moves the decision threshold of
    the score by -ln w, in favour of "absent".
    ``auxiliary`` weighs the training-only readouts. ``size`` weighs the mean square of the image features above 1: no
    layer normalises them, and after 1,800 steps on still images they had grown to 60 times the mask embedding, so that
    memories carried no mask and training on clips stopped improving.
    """

    focal: Amount = 20.0
    dice: Amount = 1.0
    iou: Amount = 1.0
    score: Amount = 1.0
    absent: Amount = 1.0
    auxiliary: Amount = 0.0
    size: Amount = 0.0
    alpha: Annotated[float, Within(high=1)] = 0.5
    gamma: Amount = 2.0


@dataclass(frozen=True)
class FrameLoss:
    """Loss of O objects on one frame.

    Attributes:
        total: () weighted sum, differentiable.
        parts: unweighted means by name, detached.
        iou: (O,) true IoU of the candidate with the highest predicted IoU, detached.
    """

    total: Tensor
    parts: dict[str, Tensor]
    iou: Tensor


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
        sure: (O,) bool, False where only a few pixels show.
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
