"""The state of a training run, and how it is saved, resumed and exported."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["Run", "export_weights", "read_state"]

_STATE = "state.pt"


@dataclass
class Run:
    """A training run between two steps.

    Attributes:
        model: the network.
        auxiliary: readouts for deep supervision, or None.
        optimizers: optimisers of both.
        average: exponential moving average of the model's weights; it is evaluated and exported.
        rng: random generator of the data.
        generator: random generator of the prompts.
        stage: index of the stage.
        step: steps done in it.
        minutes: time spent so far.
        history: one record a logged point.
    """

    model: Any
    auxiliary: nn.Module | None
    optimizers: list[torch.optim.Optimizer]
    average: AveragedModel
    rng: np.random.Generator
    generator: torch.Generator
    stage: int = 0
    step: int = 0
    minutes: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def averaged(self) -> Any:
        """Return the model with the averaged weights."""
        return self.average.module

    @property
    def device(self) -> torch.device:
        """Return where the model is."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def save(self, folder: Path) -> None:
        """Save everything that a resumed run needs; the previous state is replaced in one step."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "auxiliary": None if self.auxiliary is None else self.auxiliary.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "average": self.average.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "generator": self.generator.get_state(),
            "stage": self.stage,
            "step": self.step,
            "minutes": self.minutes,
            "history": self.history,
        }
        part = folder / f"{_STATE}.part"
        torch.save(state, part)
        os.replace(part, folder / _STATE)

    def load(self, state: dict[str, Any]) -> None:
        """Take over a saved state (see `read_state`), in place; learning rates stay those of the configuration."""
        self.model.load_state_dict(state["model"])
        if self.auxiliary is not None and state["auxiliary"] is not None:
            self.auxiliary.load_state_dict(state["auxiliary"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            base = [group["base"] for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, rate in zip(optimizer.param_groups, base, strict=True):
                group["base"] = rate
        self.average.load_state_dict(state["average"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.generator.set_state(state["generator"].cpu())
        self.stage, self.step, self.minutes = state["stage"], state["step"], state["minutes"]
        self.history = state["history"]


def read_state(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """Read the state that a run saved in ``folder``; None where there is none."""
    path = folder / _STATE
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


def export_weights(values: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> int:
    """Write weights as float16 safetensors (loading casts them back); returns the file's size in bytes.

    Complex tables (SAM 3's rotary positions) stay as they are.
    """
    cpu = {k: v.detach().cpu() for k, v in values.items()}
    half = {k: (v if v.is_complex() else v.to(torch.float16)).contiguous() for k, v in cpu.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(half, str(path), metadata=metadata)
    path.chmod(0o644)  # the writer leaves it readable by its owner alone
    return path.stat().st_size
