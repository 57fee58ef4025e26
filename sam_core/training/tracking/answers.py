"""The answers of a model to a batch, and the loss that they add up to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sam_core.sam2.features import ImageFeatures, SamOutput
from sam_core.training.tracking.auxiliary import AuxiliaryHeads
from sam_core.training.tracking.batches import Truth
from sam_core.training.tracking.losses import FrameLoss, LossWeights, frame_loss

__all__ = ["Answers", "ClipLoss"]


@dataclass(frozen=True)
class ClipLoss:
    """The loss of a batch, and the outputs that it was computed from: F an object (frames, and corrections).

    Attributes:
        total: () loss, differentiable.
        parts: its unweighted mean parts by name.
        iou: (O, F) IoU of the chosen mask with the truth, before absence is applied.
        score: (O, F) object score logits.
        visible: (O, F) whether the object was there.
        sure: (O, F) whether that is clear: False where only a few pixels show.
    """

    total: Tensor
    parts: dict[str, float]
    iou: Tensor
    score: Tensor
    visible: Tensor
    sure: Tensor

    def summary(self) -> dict[str, float]:
        """Return the mean IoU over visible frames (0 where predicted absent), and the recall of absent frames."""
        here, gone = self.visible & self.sure, ~self.visible & self.sure
        tracked = (self.iou * (self.score > 0))[here]
        absent = (self.score <= 0)[gone]
        return {
            "mean_iou": float(tracked.mean()) if len(tracked) else float("nan"),
            "absent": float(absent.float().mean()) if len(absent) else float("nan"),
        }


class Answers:
    """Collect answers one by one, each with its loss.

    Args:
        weights: of the losses.
        auxiliary: readouts for deep supervision; None for none.
        scored: whether the object score is trained. Objects of still images are always present: trained on them, it
            would saturate.
    """

    def __init__(self, weights: LossWeights, auxiliary: AuxiliaryHeads | None, *, scored: bool) -> None:
        self._weights = weights
        self._auxiliary = auxiliary
        self._scored = scored
        self._losses: list[FrameLoss] = []
        self._scores: list[Tensor] = []
        self._truths: list[Truth] = []
        self._readouts: list[Tensor] = []

    def add(self, output: SamOutput, truth: Truth) -> None:
        """Add what the model answered on one frame."""
        sure = truth.sure & self._scored
        self._losses.append(
            frame_loss(
                output.raw_masks, output.ious, output.object_score, truth.target, truth.visible, sure, self._weights
            )
        )
        self._scores.append(output.object_score.detach()[:, 0])
        self._truths.append(truth)
        if self._auxiliary is not None:
            self._readouts.append(self._auxiliary.from_decoder(truth.target))

    def read_out(self, embedding: Tensor, truth: Truth) -> None:
        """Supervise features (O, d, h, w) that memory has conditioned, if there are readouts."""
        if self._auxiliary is not None:
            self._readouts.append(self._auxiliary.from_memory(embedding, truth.target))

    def loss(self, features: ImageFeatures) -> ClipLoss:
        """Add everything up; ``features`` are those of all pictures, whose size is bounded."""
        losses, weights = self._losses, self._weights
        total = torch.stack([x.total for x in losses]).mean()
        parts = {k: float(torch.stack([x.parts[k] for x in losses]).mean()) for k in losses[0].parts}
        if self._readouts:
            mean = torch.stack(self._readouts).mean()
            parts["auxiliary"] = float(mean.detach())
            total = total + weights.auxiliary * mean
        if weights.size > 0:
            size = (features.embedding.float().square().mean() - 1).relu()
            parts["size"] = float(size.detach())
            total = total + weights.size * size
        return ClipLoss(
            total,
            parts,
            iou=torch.stack([x.iou for x in losses], 1),
            score=torch.stack(self._scores, 1),
            visible=torch.stack([x.visible for x in self._truths], 1),
            sure=torch.stack([x.sure for x in self._truths], 1),
        )
