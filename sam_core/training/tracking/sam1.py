"""SAM 1 in training: the answers of SAM 2's mask decoder, so that both learn from the same prompts."""

from __future__ import annotations

import torch
from torch import Tensor

from sam_core.sam1.model import Sam1
from sam_core.sam2.features import ImageFeatures, PromptBatch, SamOutput

__all__ = ["PromptableSam1"]


class PromptableSam1(Sam1):
    """SAM 1, which answers `Promptable`. It knows no memory, no object pointer, and no absence."""

    def embed_without_memory(self, features: ImageFeatures) -> Tensor:
        """Return the features as they are."""
        return features.embedding

    def decode(
        self,
        embedding: Tensor,
        features: ImageFeatures,
        points: Tensor,
        labels: Tensor,
        mask: Tensor | None = None,
        *,
        multimask: bool,
    ) -> SamOutput:
        """Predict the masks of O objects; see `Sam2.decode`. All prompts have a box, or none has."""
        has_box = bool((labels[0] == 2).any())
        masks, ious = self.segment(features, PromptBatch(points, labels, has_box, mask), multimask=multimask)
        best = ious.argmax(1)
        rows = torch.arange(len(best), device=best.device)
        nothing = embedding.new_zeros(len(best), 0)
        return SamOutput(
            masks=masks,
            raw_masks=masks,
            ious=ious,
            best=best,
            low_res=masks[rows, best][:, None],
            pointer=nothing,
            object_score=ious.new_ones(len(best), 1),
            tokens=nothing,
        )
