"""Typed settings of a detector's training run, composed by Hydra from ``config/training``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sam_core.configuration import load_config
from sam_core.training.concepts.losses import ConceptLossWeights
from sam_core.training.concepts.questions import QuestionMix
from sam_core.training.concepts.scenes import PictureSettings

__all__ = ["ConceptSettings", "ConceptStage", "load_concept_settings"]


@dataclass(frozen=True)
class ConceptStage:
    """One stage of a run.

    Attributes:
        name: shown in the progress bar and the curve.
        steps: optimiser steps.
        pictures: pictures a step.
        questions: questions about each of them; with 0 the image encoder alone learns, from the readouts.
        rate: learning rate at the start of the stage, as a share of the peak.
        rate_end: the same at its end; the course between is half a cosine.
        warmup: first steps, in which the rate rises from 0.
        scenes: distribution of the pictures.
        mix: distribution of the questions.
        loss: weights of the losses.
    """

    name: str
    steps: int
    pictures: int
    questions: int
    rate: float
    rate_end: float
    warmup: int
    scenes: PictureSettings
    mix: QuestionMix
    loss: ConceptLossWeights


@dataclass(frozen=True)
class ConceptSettings:
    """A training run; see ``config/training/sam3_nano.yaml`` for what each value means."""

    model: str
    model_overrides: tuple[str, ...]
    checkpoint: str | None
    output: Path
    seed: int
    device: str
    threads: int
    autocast: bool
    optimizer: str
    lr: float
    muon_lr: float
    decay: float
    clip_grad: float
    ema: float
    save_minutes: float
    evaluate_minutes: float
    evaluate_pictures: int
    stages: tuple[ConceptStage, ...]


def _tuples(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}


def load_concept_settings(name: str, overrides: Sequence[str] = ()) -> ConceptSettings:
    """Compose the settings of a run.

    Args:
        name: stem of a file in ``config/training``.
        overrides: Hydra overrides such as ``lr=1e-4`` or ``stages.0.steps=100``.

    Raises:
        ValueError: no such file, or an override that does not apply.
    """
    try:
        raw = OmegaConf.to_container(load_config("training", name, overrides), resolve=True)
        assert isinstance(raw, dict)
        values: dict[str, Any] = {str(key): value for key, value in raw.items()}
        values.pop("task")
        common = {key: values.pop(key, {}) for key in ("scenes", "mix", "loss")}
        kinds = {"scenes": PictureSettings, "mix": QuestionMix, "loss": ConceptLossWeights}
        stages = []
        for stage in values.pop("stages"):
            parts = {key: kind(**_tuples({**common[key], **stage.pop(key, {})})) for key, kind in kinds.items()}
            stages.append(ConceptStage(**stage, **parts))
        values["model_overrides"] = tuple(values["model_overrides"])
        values["output"] = Path(values["output"])
        return ConceptSettings(stages=tuple(stages), **values)
    except (OmegaConfBaseException, TypeError) as error:
        raise ValueError(f"training configuration {name!r} with {list(overrides)} is not valid: {error}") from error
