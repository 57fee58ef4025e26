"""One frame of some objects, as functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sam_core.streaming.memory import MemoryBank, MemoryBatches, Observation
from sam_core.streaming.network import ImageFeatures, SamOutput, TrackingNetwork


@dataclass(frozen=True)
class Tracked:
    """What the network says of B objects on a frame.

    Attributes:
        low_res: (B, 1, m, m) float32 mask logits.
        iou: (B,) predicted IoU.
        score: (B, 1) logit that the object is visible.
        pointer: (B, d) object pointer.
        memory: (B, *memory_shape) spatial memory of the frame; None where it is not kept.
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

    def observe(self, frame: int, absent_for: Sequence[int], *, prompted: bool) -> list[Observation]:
        """Fetch the scores; the one place where a step waits for the device.

        Args:
            frame: number of the frame.
            absent_for: of each object, how many frames before this one it was absent.
            prompted: whether this answers a prompt.
        """
        ious, scores = torch.stack((self.iou.float(), self.score[:, 0].float())).tolist()
        return [
            Observation(frame, iou, score, prompted, 0 if prompted or score > 0 else before + 1)
            for before, iou, score in zip(absent_for, ious, scores, strict=True)
        ]


def track(
    network: TrackingNetwork,
    bank: MemoryBank,
    features: ImageFeatures,
    batches: MemoryBatches,
    *,
    remember: bool = True,
) -> Tracked:
    """Track objects without a prompt: memory attention per batch, then mask decoder and memory encoder for all at once.

    Args:
        network: the network.
        bank: where the memories are.
        features: the frame.
        batches: which memories.
        remember: make the frame's spatial memories.
    """
    embeddings = [network.embed_with_memory(features, bank.read(indices)) for indices in batches.indices]
    embedding = embeddings[0] if len(embeddings) == 1 else torch.cat(embeddings)[batches.order]
    output = network.decode(embedding, features, multimask=network.uses_multimask(0, begins=False))
    if not remember:
        return Tracked.of(output, None)
    memory = network.encode_memory(features, output.low_res, output.object_score, from_prompt=False)
    return Tracked.of(output, memory)
