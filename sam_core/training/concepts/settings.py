"""Typed settings of a detector's training run, composed by Hydra from ``config/training``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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

    pictures: int
    questions: int
    scenes: PictureSettings
    mix: QuestionMix
    loss: ConceptLossWeights


@dataclass(frozen=True)
class ConceptSettings(RunSettings):
    """A training run; ``config/training/sam3_nano.yaml`` explains each value."""

    evaluate_pictures: int
    stages: tuple[ConceptStage, ...]


def load_concept_settings(name: str, overrides: Sequence[str] = ()) -> ConceptSettings:
    """Compose the settings of a run; arguments and errors as in `compose`."""

    def build(values: dict[str, Any]) -> ConceptSettings:
        kinds = {"scenes": PictureSettings, "mix": QuestionMix, "loss": ConceptLossWeights}
        common = {key: values.pop(key, {}) for key in kinds}
        stages = []
        for stage in values.pop("stages"):
            parts = {key: kind(**_tuples({**common[key], **stage.pop(key, {})})) for key, kind in kinds.items()}
            stages.append(ConceptStage(**stage, **parts))
        return ConceptSettings(**values, stages=tuple(stages))

    return compose(name, overrides, build)


def _tuples(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
