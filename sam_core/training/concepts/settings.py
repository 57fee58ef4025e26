"""Typed settings of a detector's training run, composed by Hydra from ``config/training``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sam_core.training.checks import Count, Whole, make
from sam_core.training.concepts.losses import ConceptLossWeights
from sam_core.training.concepts.questions import QuestionMix
from sam_core.training.concepts.scenes import PictureSettings
from sam_core.training.settings import RunSettings, Stage, compose

__all__ = ["ConceptSettings", "ConceptStage", "load_concept_settings"]


@dataclass(frozen=True)
class ConceptStage(Stage):
    """One stage of a run.

    Attributes:
        pictures: pictures a step.
        questions: questions about each of them; with 0 only the image encoder is trained, by the readouts.
        scenes: distribution of the pictures.
        mix: distribution of the questions.
        loss: weights of the losses.
    """

    pictures: Count
    questions: Whole
    scenes: PictureSettings
    mix: QuestionMix
    loss: ConceptLossWeights


@dataclass(frozen=True)
class ConceptSettings(RunSettings):
    """A training run; ``config/training/sam3_nano.yaml`` explains each value."""

    evaluate_pictures: Count
    stages: tuple[ConceptStage, ...]


def load_concept_settings(name: str, overrides: Sequence[str] = ()) -> ConceptSettings:
    """Compose the settings of a run; arguments and errors as in `compose`."""

    def build(values: dict[str, Any]) -> ConceptSettings:
        common = {key: values.pop(key, {}) for key in ("scenes", "mix", "loss")}
        stages = [
            {**stage, **{key: {**shared, **stage.get(key, {})} for key, shared in common.items()}}
            for stage in values["stages"]
        ]
        return make(ConceptSettings, {**values, "stages": stages})

    return compose(name, overrides, build)
