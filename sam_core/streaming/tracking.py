"""One frame of some objects, as functions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from sam_core.streaming.memory import Examination, MemoryBank, MemoryBatches, MemoryPolicy, Observation
from sam_core.streaming.network import ImageFeatures, SamOutput, TrackingNetwork

Examiner: TypeAlias = Callable[[SamOutput], Examination]  # a policy that knows the frame and the objects


@dataclass(frozen=True)
class Tracked:
    """What the network says of B objects on a frame.

    Attributes:
        low_res: (B, 1, m, m) float32 mask logits.
        iou: (B,) predicted IoU.
        score: (B, 1) logit that the object is visible.
        pointer: (B, d) object pointer.
        memory: (B, *memory_shape) spatial memory of the frame; None where it is not kept.
        examined: what the memory policy found in the candidates; None where it does not look at them.
    """

    low_res: Tensor
    iou: Tensor
    score: Tensor
    pointer: Tensor
    memory: Tensor | None = None
    examined: Examination | None = None

    @classmethod
    def of(cls, output: SamOutput, memory: Tensor | None) -> Tracked:
        """Take from the network's output what a stream needs."""
        return cls(output.low_res, output.best_iou, output.object_score, output.pointer, memory)

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> Tracked:
        """Take what `tensors` returns."""
        low_res, iou, score, pointer, *memory = tensors
        return cls(low_res, iou, score, pointer, memory[0] if memory else None)

    def tensors(self) -> tuple[Tensor, ...]:
        """Return them in the order of the constructor; without a memory that is not kept."""
        parts = self.low_res, self.iou, self.score, self.pointer
        return parts if self.memory is None else (*parts, self.memory)

    def first(self, count: int) -> Tracked:
        """Drop what was added to fill the batch."""
        return self if self.iou.shape[0] == count else Tracked.from_tensors([t[:count] for t in self.tensors()])

    def observe(
        self, frame: int, last: Sequence[Observation], policy: MemoryPolicy, *, prompted: bool
    ) -> list[Observation]:
        """Fetch the scores, and let the policy note what it needs; the one place where a step waits for the device.

        Args:
            frame: number of the frame.
            last: of each object the frame before.
            policy: the memory policy.
            prompted: whether this answers a prompt.
        """
        scores = torch.stack((self.iou.float(), self.score[:, 0].float()), 1)
        if self.examined is None:
            fetched, evidence = scores.tolist(), None
        else:
            together = torch.cat((scores.view(torch.uint8), self.examined.evidence), 1).cpu().numpy()
            fetched, evidence = together[:, :8].copy().view(np.float32).tolist(), together[:, 8:]
        seen = [
            Observation(frame, iou, score, prompted, 0 if prompted or score > 0 else before.absent_for + 1)
            for before, (iou, score) in zip(last, fetched, strict=True)
        ]
        if prompted:
            states = [policy.note_prompt(before) for before in last]
        elif self.examined is None or evidence is None:
            return seen
        else:
            states = list(map(policy.note, seen, last, evidence, self.examined.states))
        return [replace(one, policy_state=state) for one, state in zip(seen, states, strict=True)]


def track(
    network: TrackingNetwork,
    bank: MemoryBank,
    features: ImageFeatures,
    batches: MemoryBatches,
    *,
    remember: bool = True,
    examiner: Examiner | None = None,
) -> Tracked:
    """Track objects without a prompt: memory attention per batch, then mask decoder and memory encoder for all at once.

    Args:
        network: the network.
        bank: where the memories are.
        features: the frame.
        batches: which memories.
        remember: make the frame's spatial memories.
        examiner: looks at the candidate masks, and may take others than the network.
    """
    embeddings = [network.embed_with_memory(features, bank.read(indices)) for indices in batches.indices]
    embedding = embeddings[0] if len(embeddings) == 1 else torch.cat(embeddings)[batches.order]
    multimask = network.uses_multimask(0, begins=False)
    output = network.decode(embedding, features, multimask=multimask, alternatives=examiner is not None)
    examined = None if examiner is None else examiner(output)
    if examined is not None and examined.best is not None:
        output = network.take(output, examined.best)
    memory = None
    if remember:
        memory = network.encode_memory(features, output.low_res, output.object_score, from_prompt=False)
    return replace(Tracked.of(output, memory), examined=examined)
