"""Typed settings of a training run, composed by Hydra from ``config/training``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sam_core.configuration import load_config
from sam_core.training.losses import LossWeights
from sam_core.training.scenes import SceneSettings
from sam_core.training.unroll import PromptPlan

__all__ = ["Settings", "Stage", "load_settings"]


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        name: shown in the progress bar and the curve.
        steps: optimiser steps.
        size: side of the pictures, px: a multiple of 32.
        clips: clips a step.
        objects: largest number of objects of a clip.
        rate: learning rate at the start of the stage, as a share of the peak.
        rate_end: the same at its end; the course between is half a cosine.
        warmup: first steps, in which the rate rises from 0.
        prompts: how objects are prompted.
        scenes: distribution of the clips, one picture for a stage of still images.
        harder: a second distribution that takes over linearly during the stage; None for none.
        stills: share of steps on still images in a stage of clips, so that answers to prompts stay good.
        still_clips: images of such a step.
        silent: successive frames of a clip that are only tracked, without loss and gradient (see ``clip_losses``).
    """

    name: str
    steps: int
    size: int
    clips: int
    objects: int
    rate: float
    rate_end: float
    warmup: int
    prompts: PromptPlan
    scenes: SceneSettings
    harder: SceneSettings | None
    stills: float = 0.0
    still_clips: int = 8
    silent: int = 0


@dataclass(frozen=True)
class Settings:
    """A training run; see ``config/training/nano.yaml`` for what each value means."""

    model: str
    model_overrides: tuple[str, ...]
    checkpoint: str | None
    deepen: bool
    folder: str | None
    stride: int
    freeze: tuple[str, ...]
    initialise: bool
    output: Path
    seed: int
    device: str
    workers: int
    average_every: int
    autocast: bool
    optimizer: str
    lr: float
    muon_lr: float
    decay: float
    clip_grad: float
    ema: float
    loss: LossWeights
    save_minutes: float
    evaluate_minutes: float
    evaluate_clips: int
    stages: tuple[Stage, ...]


def _scenes(raw: dict[str, Any], size: int) -> SceneSettings:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    return SceneSettings(**{**values, "size": size})


def _stage(raw: dict[str, Any], common: dict[str, Any]) -> Stage:
    base = {**common, **raw.pop("scenes", {})}
    harder = raw.pop("harder", None)
    size = int(raw["size"])
    if size % 32:
        raise ValueError(f"stage {raw.get('name')!r}: size {size} is not a multiple of 32")
    return Stage(
        prompts=PromptPlan(**raw.pop("prompts", {})),
        scenes=_scenes(base, size),
        harder=None if harder is None else _scenes({**base, **harder}, size),
        **raw,
    )


def load_settings(name: str, overrides: Sequence[str] = ()) -> Settings:
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
        values: dict[str, Any] = {str(k): v for k, v in raw.items()}
        scenes = values.pop("scenes", {})
        stages = tuple(_stage(dict(s), scenes) for s in values.pop("stages"))
        loss = LossWeights(**values.pop("loss", {}))
        for key in ("model_overrides", "freeze"):
            values[key] = tuple(values[key])
        values["output"] = Path(values["output"])
        return Settings(stages=stages, loss=loss, **values)
    except (OmegaConfBaseException, TypeError) as error:
        raise ValueError(f"training configuration {name!r} with {list(overrides)} is not valid: {error}") from error
