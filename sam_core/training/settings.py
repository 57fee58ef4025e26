"""Settings that every training run has, and how Hydra composes them from ``config/training``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sam_core.build import shipped_weights
from sam_core.configuration import load_config
from sam_core.devices import has_fast_bfloat16
from sam_core.training.checks import Amount, Count, Share, Whole

__all__ = ["RunSettings", "Stage", "compose", "plain_settings"]

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """One stage of a run, as far as all tasks share it.

    Attributes:
        name: shown in the progress bar and the curve.
        steps: optimiser steps.
        rate: learning rate at the start of the stage, as a share of the peak.
        rate_end: learning rate at its end; the schedule between is half a cosine.
        warmup: first steps, in which the rate rises from 0.
    """

    name: str
    steps: Whole
    rate: Amount
    rate_end: Amount
    warmup: Whole


@dataclass(frozen=True)
class RunSettings:
    """A training run, as far as all tasks share it; ``config/training/nano.yaml`` explains each value."""

    model: str
    model_overrides: tuple[str, ...]
    checkpoint: str | None
    output: Path
    seed: Whole
    device: str
    threads: Count | None
    workers: Count
    average_every: Count
    autocast: bool | str
    optimizer: str
    lr: Amount
    muon_lr: Amount
    decay: Amount
    clip_grad: Amount
    ema: Share
    save_minutes: Amount
    evaluate_minutes: Amount
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        """Refuse an unknown choice, and a run without stages.

        Raises:
            ValueError: see the message.
        """
        if self.autocast not in (True, False, "auto"):
            raise ValueError(f"autocast is true, false or auto, not {self.autocast!r}.")
        if not self.stages:
            raise ValueError("A run needs at least one stage: stages cannot be empty.")

    def start_weights(self) -> Path | None:
        """Return the file of the weights that the run starts from; None for random ones.

        Raises:
            ValueError: ``checkpoint`` is "shipped", but no weights ship with the model.
        """
        if self.checkpoint != "shipped":
            return None if self.checkpoint is None else Path(self.checkpoint)
        path = shipped_weights(self.model)
        if path is None:
            raise ValueError(f"No weights ship with {self.model}: name a file with checkpoint=FILE.")
        return path

    def uses_autocast(self, device: torch.device) -> bool:
        """Tell whether to compute in bfloat16 on a device; with ``auto``, where it multiplies that in hardware."""
        return has_fast_bfloat16(device) if self.autocast == "auto" else bool(self.autocast)


def plain_settings(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose the plain values of a run, with its task.

    Args:
        name: stem of a file in ``config/training``.
        overrides: Hydra overrides such as ``lr=1e-4`` or ``stages.0.silent=3``. A setting of a group may be one that
            the file does not mention; a wrong one is refused where the group is made.

    Raises:
        ValueError: no such file, or an override that does not apply.
    """
    try:
        raw = OmegaConf.to_container(load_config("training", name, [_added(x) for x in overrides]), resolve=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"training configuration {name!r} with {list(overrides)} is not valid: {error}") from error
    assert isinstance(raw, dict)
    return {str(key): value for key, value in raw.items()}


def _added(override: str) -> str:
    """Let an override of a setting of a group add it, which Hydra writes as ``++``."""
    key, equals, _ = override.partition("=")
    return f"++{override}" if equals and "." in key and key[0].isalpha() else override


def compose(name: str, overrides: Sequence[str], build: Callable[[dict[str, Any]], T]) -> T:
    """Compose the settings of a run; ``build`` makes the typed settings of a task from the plain values.

    Raises:
        ValueError: as `plain_settings`, or a value is not what its setting takes.
    """
    values = plain_settings(name, overrides)
    values.pop("task", None)
    try:
        return build(values)
    except (AttributeError, TypeError) as error:  # a group of settings is none
        raise ValueError(f"training configuration {name!r} with {list(overrides)} is not valid: {error}") from error
