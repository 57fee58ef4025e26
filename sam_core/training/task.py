"""What a training run learns: the part of a run that differs between tracking and detection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from sam_core.training.run import Run
from sam_core.training.settings import RunSettings

__all__ = ["Task"]

S = TypeVar("S")  # the task's stage
B = TypeVar("B")  # its batch


class Task(ABC, Generic[S, B]):
    """A model, its data, its loss and its evaluation.

    The trainer calls these methods in this order: `build_model` and `build_auxiliary` once, `enter_stage` when a stage
    begins or is resumed, `draw` and `loss` in every step, `evaluate` now and then, `released_weights` and
    `released_file` to export.

    Attributes:
        settings: the run's.
        figures: what the learning curve shows beside the loss: keys of the history, and their names in the legend.
    """

    settings: RunSettings
    figures: ClassVar[Mapping[str, str]]

    @abstractmethod
    def build_model(self) -> nn.Module:
        """Build the model on the CPU, with the weights that the run starts from."""

    @abstractmethod
    def build_auxiliary(self, model: Any) -> nn.Module | None:
        """Build the readouts that are used in training only; None for none."""

    @abstractmethod
    def enter_stage(self, run: Run, stage: S) -> None:
        """Prepare the model and its moving average for a stage, for instance for its image size."""

    @abstractmethod
    def draw(self, run: Run, stage: S) -> B:
        """Draw the batch of a step, on the model's device."""

    @abstractmethod
    def loss(self, run: Run, stage: S, batch: B) -> tuple[Tensor, dict[str, float]]:
        """Return the differentiable loss () of a batch, and figures of the step by name."""

    @abstractmethod
    def evaluate(self, run: Run, stage: S) -> dict[str, float]:
        """Evaluate the averaged weights on data of fixed seeds; returns figures by name."""

    def released_weights(self, run: Run) -> dict[str, Tensor]:
        """Return what is exported by parameter name: the averaged weights."""
        weights: dict[str, Tensor] = run.averaged.state_dict()
        return weights

    def released_file(self) -> tuple[str, torch.dtype]:
        """Return the name of the exported file, and the weights' dtype in it."""
        return f"{self.settings.model}.safetensors", torch.float16

    def identity(self) -> dict[str, Any]:
        """Return the settings without which the state of a run has no meaning: a run with others does not resume it."""
        settings = self.settings
        names = ("model", "model_overrides", "optimizer")
        return {name: getattr(settings, name) for name in names}
