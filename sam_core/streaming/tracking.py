"""One frame of some objects, as a function of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sam_core.sam2 import ImageFeatures, Sam2, SamOutput
from sam_core.streaming.bank import Groups, MemoryBank


@dataclass(frozen=True)
class Tracked:
    """What a frame gave of B objects.

    Attributes:
        low_res: (B, 1, 4 h, 4 w) float32 mask logits.
        iou: (B,) predicted IoU.
        score: (B, 1) logit that the object is visible.
        pointer: (B, d) object pointer.
        memory: (B, c, h, w) spatial memory of the frame; None where it is not kept.
    """

    low_res: Tensor
    iou: Tensor
    score: Tensor
    pointer: Tensor
    memory: Tensor | None = None

    @classmethod
    def of(cls, output: SamOutput, memory: Tensor | None) -> Tracked:
        """Take from the network's output what a stream needs."""
        return cls(output.low_res, output.best_iou, output.object_score, output.pointer, memory)

    def tensors(self) -> tuple[Tensor, ...]:
        """Return them in the order of the constructor; without a memory that is not kept."""
        parts = self.low_res, self.iou, self.score, self.pointer
        return parts if self.memory is None else (*parts, self.memory)

    def first(self, count: int) -> Tracked:
        """Drop what was added to fill the batch."""
        return self if self.iou.shape[0] == count else Tracked(*(t[:count] for t in self.tensors()))


def track(model: Sam2, bank: MemoryBank, features: ImageFeatures, groups: Groups, *, remember: bool = True) -> Tracked:
    """Track objects without a prompt: memory attention per group, then mask decoder and memory encoder for all at once.

    Args:
        model: the network.
        bank: where the memories are.
        features: the frame.
        groups: which memories.
        remember: make the frame's spatial memories.
    """
    embeddings = [model.embed_with_memory(features, bank.read(places)) for places in groups.places]
    embedding = embeddings[0] if len(embeddings) == 1 else torch.cat(embeddings)[groups.order]
    output = model.decode(embedding, features, multimask=model.uses_multimask(0, begins=False))
    if not remember:
        return Tracked.of(output, None)
    memory = model.encode_memory(features, output.low_res, output.object_score, from_prompt=False)
    return Tracked.of(output, memory)
