"""The differentiable unroll of a clip: prompts on the first frame, then memory, frame after frame, as in a stream."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.sam2.features import MemoryTokens, SamOutput
from sam_core.sam2.model import Sam2
from sam_core.training.tracking.batches import Batch
from sam_core.training.tracking.encoding import encode_clips
from sam_core.training.tracking.interaction import Interaction, PromptPlan
from sam_core.training.tracking.losses import FrameLoss, LossWeights, frame_loss, grid_loss

__all__ = ["AuxiliaryHeads", "ClipLoss", "clip_losses"]


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


class AuxiliaryHeads(nn.Module):
    """Two linear readouts on the feature grid for deep supervision, used only in training.

    They predict the object's mask from the memory-conditioned features and from the image side of the decoder's
    transformer, so that both get a gradient that does not pass through the decoder's product of tokens and pixels
    ("Deeply-Supervised Nets", Lee et al., 2015).
    """

    def __init__(self, model: Sam2) -> None:
        super().__init__()
        self.memory = nn.Linear(model.d_model, 1)
        self.decoder = nn.Linear(model.d_model, 1)
        self._image: Tensor | None = None
        transformer = model.sam_mask_decoder.transformer
        self._handle = transformer.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, args: object, output: tuple[Tensor, Tensor]) -> None:
        self._image = output[1]

    def close(self) -> None:
        """Remove the hook from the model."""
        self._handle.remove()

    def from_memory(self, embedding: Tensor, target: Tensor) -> Tensor:
        """Return the loss of the readout of (O, d, h, w) features."""
        return grid_loss(self.memory(embedding.permute(0, 2, 3, 1))[..., 0], target)

    def from_decoder(self, target: Tensor, side: int) -> Tensor:
        """Return the loss of the readout of the decoder's last call."""
        assert self._image is not None
        return grid_loss(self.decoder(self._image)[..., 0].unflatten(1, (side, side)), target)


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
    """Run a batch through the model and return its loss.

    Args:
        model: in training mode.
        batch: T = 1 trains on still images.
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

    silent = min(silent, max(frames - 2, 0))
    start = int(torch.randint(1, max(frames - silent, 2), (), generator=generator))
    silent_frames = range(start, start + silent)
    views, features = encode_clips(model, batch, silent_frames, checkpointing)

    # Objects of still images are always present: trained on them, the score would saturate.
    scored = torch.tensor(frames > 1, device=batch.clip.device)
    memory = _Memory([], [], [0])
    losses: list[FrameLoss] = []
    answers: list[tuple[Tensor, Tensor, Tensor]] = []
    extras: list[Tensor] = []
    by_mask = frames > 1 and chance(plan.mask)
    kinds = [chance(plan.box)]
    if frames == 1 and 0 < plan.box < 1:  # a still image is encoded once, and prompted both ways
        kinds = [False, True]
    extra = int(torch.randint(plan.far_frames, (), generator=generator)) if chance(plan.far) else 0
    later = int(torch.randint(1, frames, (), generator=generator)) if frames > 1 and chance(plan.correct_later) else -1
    for t in range(frames):
        supervised = t not in silent_frames
        target, visible, sure = batch.targets[:, t], batch.visible[:, t], batch.sure[:, t]

        def add_loss(
            output: SamOutput, target: Tensor = target, visible: Tensor = visible, sure: Tensor = sure
        ) -> None:
            losses.append(
                frame_loss(output.raw_masks, output.ious, output.object_score, target, visible, scored & sure, weights)
            )
            answers.append((output.object_score.detach()[:, 0], visible, sure))
            if auxiliary is not None:
                extras.append(auxiliary.from_decoder(target, model.feature_size))

        with torch.set_grad_enabled(supervised and torch.is_grad_enabled()):
            view = views(t)
            if t == 0:
                embedding = model.embed_without_memory(view)
                if by_mask:
                    full = F.interpolate(target[:, None], size=(model.image_size, model.image_size), mode="nearest")
                    output = model.adopt_mask(view, full)
                else:
                    user = Interaction(model, view, embedding, target, add_loss, generator)
                    for by_box in kinds:
                        output = user.begin(by_box, plan.draw_clicks(generator) if chance(plan.correct) else 0)
            else:
                embedding = model.embed_with_memory(view, memory.tokens(model, extra))
                if auxiliary is not None and supervised:
                    extras.append(auxiliary.from_memory(embedding, target))
                output = model.decode(embedding, view, multimask=model.uses_multimask(0, begins=False))
                if supervised:
                    add_loss(output)
                if supervised and t == later:
                    user = Interaction(model, view, embedding, target, add_loss, generator)
                    output = user.correct(output, None, plan.draw_clicks(generator), visible)
                    memory.prompted.append(t)
            if t + 1 < frames:
                mask, score = output.to_remember, output.object_score
                if chance(plan.teach):
                    truth = F.interpolate(target[:, None], size=mask.shape[-2:], mode="bilinear", antialias=True)
                    mask = truth * 20 - 10
                    score = visible.to(score.dtype)[:, None] * 20 - 10
                memory.spatial.append(model.encode_memory(view, mask, score, t in memory.prompted))
                memory.pointers.append(output.pointer)
    total = torch.stack([x.total for x in losses]).mean()
    parts = {k: float(torch.stack([x.parts[k] for x in losses]).mean()) for k in losses[0].parts}
    if extras:
        mean = torch.stack(extras).mean()
        parts["auxiliary"] = float(mean.detach())
        total = total + weights.auxiliary * mean
    score, visible, sure = (torch.stack(x, 1) for x in zip(*answers, strict=True))
    if weights.size > 0:
        size = (features.embedding.float().square().mean() - 1).relu()
        parts["size"] = float(size.detach())
        total = total + weights.size * size
    return ClipLoss(total, parts, torch.stack([x.iou for x in losses], 1), score, visible, sure)
