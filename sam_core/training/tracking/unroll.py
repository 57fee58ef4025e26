"""The differentiable unroll of a clip: prompts on the first frame, then memory, frame after frame, as in a stream."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.sam2.features import MemoryTokens, SamOutput
from sam_core.sam2.model import Sam2
from sam_core.training.tracking.answers import Answers, ClipLoss
from sam_core.training.tracking.auxiliary import AuxiliaryHeads
from sam_core.training.tracking.batches import Batch, Truth
from sam_core.training.tracking.encoding import encode_clips
from sam_core.training.tracking.interaction import Interaction, PromptPlan
from sam_core.training.tracking.losses import LossWeights

__all__ = ["clip_losses"]


@dataclass
class _Memory:
    """Memories of O objects: one entry a frame; those of prompted frames condition all later ones."""

    spatial: list[Tensor]
    pointers: list[Tensor]
    prompted: list[int]

    def tokens(self, model: Sam2, extra: int) -> MemoryTokens:
        """Assemble the memories as a stream does; ``extra`` frames are added to the first frame's distance."""
        now, first = len(self.spatial), self.prompted
        recent = [t for t in range(max(1, now - model.num_memories + 1), now) if t not in first]
        device = self.spatial[0].device
        t_pos = torch.tensor([[0] * len(first) + [model.num_memories - (now - t) for t in recent]], device=device)
        spatial = torch.stack([self.spatial[t] for t in (*first, *recent)], 1)
        near = [*first, *(t for t in range(1, now) if now - t < model.max_object_pointers and t not in first)]
        ages = [now - t + (extra if t == 0 else 0) for t in near]
        distances = torch.tensor([ages], device=device, dtype=torch.float32)
        return model.assemble_memory(spatial, t_pos, torch.stack([self.pointers[t] for t in near], 1), distances)


def clip_losses(
    model: Sam2,
    batch: Batch,
    plan: PromptPlan,
    weights: LossWeights,
    auxiliary: AuxiliaryHeads | None = None,
    generator: torch.Generator | None = None,
    silent: int = 0,
    checkpointing: bool = False,
) -> ClipLoss:
    """Run clips through the model and return their loss.

    Args:
        model: in training mode.
        batch: of two frames or more.
        plan: how objects are prompted.
        weights: weights of the losses.
        auxiliary: readouts for deep supervision.
        generator: CPU randomness of the prompts.
        silent: so many successive frames, somewhere between the first and the last, are only tracked: no loss, no
            gradient, a third of the cost. Memories then are as old, and have as many errors, as late in a stream.
        checkpointing: see `encode_clips`.
    """
    frames = batch.images.shape[1]

    def chance(probability: float) -> bool:
        return float(torch.rand((), generator=generator)) < probability

    silent = min(silent, frames - 2)
    start = int(torch.randint(1, max(frames - silent, 2), (), generator=generator))
    silent_frames = range(start, start + silent)
    views, features = encode_clips(model, batch, silent_frames, checkpointing)

    answers = Answers(weights, auxiliary, scored=True)
    memory = _Memory([], [], [0])
    by_mask, by_box = chance(plan.mask), chance(plan.box)
    extra = int(torch.randint(plan.far_frames, (), generator=generator)) if chance(plan.far) else 0
    later = int(torch.randint(1, frames, (), generator=generator)) if chance(plan.correct_later) else -1
    for t in range(frames):
        supervised, truth = t not in silent_frames, batch.truth(t)

        def answer(output: SamOutput, truth: Truth = truth) -> None:
            answers.add(output, truth)

        with torch.set_grad_enabled(supervised and torch.is_grad_enabled()):
            view = views(t)
            if t == 0 and by_mask:
                side = model.image_size
                output = model.adopt_mask(view, F.interpolate(truth.target[:, None], size=(side, side), mode="nearest"))
            elif t == 0:
                user = Interaction(model, view, model.embed_without_memory(view), truth.target, answer, generator)
                output = user.begin(by_box, plan.draw_clicks(generator) if chance(plan.correct) else 0)
            else:
                embedding = model.embed_with_memory(view, memory.tokens(model, extra))
                output = model.decode(embedding, view, multimask=model.uses_multimask(0, begins=False))
                if supervised:
                    answers.read_out(embedding, truth)
                    answers.add(output, truth)
                if supervised and t == later:
                    user = Interaction(model, view, embedding, truth.target, answer, generator)
                    output = user.correct(output, None, plan.draw_clicks(generator), truth.visible)
                    memory.prompted.append(t)
            if t + 1 < frames:
                mask, score = output.to_remember, output.object_score
                if chance(plan.teach):
                    mask = F.interpolate(truth.target[:, None], size=mask.shape[-2:], mode="bilinear", antialias=True)
                    mask = mask * 20 - 10
                    score = truth.visible.to(score.dtype)[:, None] * 20 - 10
                memory.spatial.append(model.encode_memory(view, mask, score, t in memory.prompted))
                memory.pointers.append(output.pointer)
    return answers.loss(features)
