"""Still images: prompts and corrections on one picture, without memory."""

from __future__ import annotations

import torch

from sam_core.training.tracking.answers import Answers, ClipLoss
from sam_core.training.tracking.auxiliary import AuxiliaryHeads
from sam_core.training.tracking.batches import Batch
from sam_core.training.tracking.encoding import encode_clips
from sam_core.training.tracking.interaction import Interaction, Promptable, PromptPlan
from sam_core.training.tracking.losses import LossWeights

__all__ = ["still_losses"]


def still_losses(
    model: Promptable,
    batch: Batch,
    plan: PromptPlan,
    weights: LossWeights,
    auxiliary: AuxiliaryHeads | None = None,
    generator: torch.Generator | None = None,
    checkpointing: bool = False,
) -> ClipLoss:
    """Prompt the objects of still images and return the loss.

    A picture is encoded once, and where the plan has both clicks and boxes, its objects are prompted both ways.

    Args:
        model: in training mode.
        batch: clips of one frame.
        plan: how objects are prompted; what it says of later frames has no meaning here.
        weights: weights of the losses.
        auxiliary: readouts for deep supervision.
        generator: CPU randomness of the prompts.
        checkpointing: see `encode_clips`.
    """
    view, features = encode_clips(model, batch, range(0), checkpointing)
    truth, image = batch.truth(0), view(0)
    answers = Answers(weights, auxiliary, scored=False)
    user = Interaction(
        model,
        image,
        model.embed_without_memory(image),
        truth.target,
        lambda output: answers.add(output, truth),
        generator,
    )
    for by_box in [False, True] if 0 < plan.box < 1 else [plan.box == 1]:
        corrected = float(torch.rand((), generator=generator)) < plan.correct
        user.begin(by_box, plan.draw_clicks(generator) if corrected else 0)
    return answers.loss(features)
