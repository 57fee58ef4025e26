"""Simulated interaction on one frame: a first prompt, then clicks on what is still wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sam_core.sam2.features import ImageFeatures, SamOutput
from sam_core.training.tracking.prompts import sample_boxes, sample_clicks, sample_corrections

__all__ = ["MOST_CORRECTIONS", "Interaction", "PromptPlan", "Promptable"]

MOST_CORRECTIONS = 8  # clicks on one frame, as SAM has

Prompt = tuple[Tensor, Tensor]  # points (O, K, 2) in px of the model's image, and labels (O, K)


@dataclass(frozen=True)
class PromptPlan:
    """How objects are prompted: probabilities, and two numbers.

    Attributes:
        box: a box rather than a click on the first frame.
        mask: a mask as the prompt of the whole clip's objects.
        correct: correction clicks on the first frame after the first output.
        correct_later: correction clicks on a later frame of a clip, which then conditions like a prompted one.
        corrections: largest number of successive correction clicks on such a frame, each on an error of the mask
            before; how many is drawn from 1 on. SAM has 8 ("Segment Anything", appendix A), Meta's configuration for
            training SAM 2.1 has 7.
        teach: the true mask rather than the predicted one is encoded as a frame's memory (teacher forcing).
        far: the distance to the prompted frame is enlarged by up to ``far_frames``, as late in a stream.
        far_frames: see ``far``.
    """

    box: float = 0.5
    mask: float = 0.15
    correct: float = 0.3
    correct_later: float = 0.1
    corrections: int = 1
    teach: float = 0.0
    far: float = 0.3
    far_frames: int = 300

    def __post_init__(self) -> None:
        """Refuse what is no plan.

        Raises:
            ValueError: a probability outside of 0 to 1, or a number of corrections outside of 1 to 8.
        """
        for name in ("box", "mask", "correct", "correct_later", "teach", "far"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"prompts.{name} is a probability, 0 to 1, not {getattr(self, name)}.")
        if not 1 <= self.corrections <= MOST_CORRECTIONS:
            raise ValueError(f"prompts.corrections must be 1 to {MOST_CORRECTIONS}, not {self.corrections}.")

    def draw_clicks(self, generator: torch.Generator | None) -> int:
        """Draw the number of correction clicks on a frame that is corrected."""
        if self.corrections == 1:
            return 1
        return int(torch.randint(1, self.corrections + 1, (), generator=generator))


class Promptable(Protocol):
    """What the training asks of a network on one image; SAM 2 and its kin answer it, and `PromptableSam1`."""

    @property
    def image_size(self) -> int:
        """Side of the square input in px."""

    @property
    def logit_bound(self) -> float:
        """Largest magnitude of a mask's logits that are part of a prompt, as where the model is used."""

    def normalise(self, images: Tensor) -> Tensor:
        """Bring images (B, S, S, 3) uint8 RGB to the input (B, 3, S, S)."""

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Encode normalised images."""

    def embed_without_memory(self, features: ImageFeatures) -> Tensor:
        """Return the features (B, d, h, w) of objects that have no memory."""

    def uses_multimask(self, num_points: int, *, begins: bool) -> bool:
        """Return whether three candidates are predicted rather than one mask, for so many points (a box is two)."""

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
        """Predict the masks of O objects that are prompted; see `Sam2.decode`."""


@dataclass(frozen=True)
class Interaction:
    """A user and the model on one frame of O objects.

    Attributes:
        model: the network.
        view: features of the objects' frame.
        embedding: (O, d, h, w), with or without memory.
        target: (O, H, W) float 0/1, what the user wants.
        add_loss: takes each answer.
        generator: source of randomness.
    """

    model: Promptable
    view: ImageFeatures
    embedding: Tensor
    target: Tensor
    add_loss: Callable[[SamOutput], None]
    generator: torch.Generator | None

    def begin(self, by_box: bool, clicks: int) -> SamOutput:
        """Prompt objects that have no memory by a click or a box, then correct the answer by clicks."""
        model, target = self.model, self.target
        if by_box:
            points = sample_boxes(target, model.image_size, generator=self.generator)
            labels = torch.tensor([2, 3], device=target.device).expand(len(target), 2)
        else:
            points = sample_clicks(target, model.image_size, self.generator)
            labels = torch.ones(points.shape[:2], dtype=torch.long, device=target.device)
        multimask = model.uses_multimask(points.shape[1], begins=True)
        output = model.decode(self.embedding, self.view, points, labels, multimask=multimask)
        self.add_loss(output)
        return self.correct(output, (points, labels), clicks)

    def correct(
        self, output: SamOutput, prompt: Prompt | None, clicks: int, visible: Tensor | None = None
    ) -> SamOutput:
        """Add clicks one by one, each on an error of the mask before, which is part of the prompt.

        Args:
            output: the answer to be corrected.
            prompt: what it answers; None where the objects were tracked.
            clicks: how many; with 0 the output stays as it is.
            visible: (O,) which objects get a click; None for all.
        """
        for _ in range(clicks):
            mask = output.low_res.detach()
            points, labels = sample_corrections(mask[:, 0], self.target, self.model.image_size, self.generator)
            if visible is not None:
                labels = torch.where(visible[:, None], labels, -1)
            if prompt is not None:
                points, labels = torch.cat([prompt[0], points], 1), torch.cat([prompt[1], labels], 1)
            prompt = points, labels
            mask = mask.clamp(-self.model.logit_bound, self.model.logit_bound)
            multimask = self.model.uses_multimask(points.shape[1], begins=False)
            output = self.model.decode(self.embedding, self.view, points, labels, mask, multimask=multimask)
            self.add_loss(output)
        return output
