"""What a training run is at one moment, and how it is saved, resumed, averaged and exported."""

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

from sam_core.sam2.model import Sam2

__all__ = ["Average", "Run", "export_weights", "load_run", "save_run", "set_image_size"]

_STATE = "state.pt"


class Average:
    """Exponential moving average of a model's parameters; evaluation and export use it.

    Args:
        model: whose weights to start from.
        decay: weight of the past; early on less, so that the first weights are forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.values = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the model's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in model.state_dict().items():
            self.values[name].lerp_(value, 1 - decay)


@dataclass
class Run:
    """A training run between two steps.

    Attributes:
        model: the network.
        auxiliary: readouts for deep supervision, or None.
        optimizers: optimisers of both.
        average: moving average of the model.
        rng: randomness of data.
        generator: randomness of prompts.
        stage: index of the stage.
        step: steps done in it.
        minutes: time spent so far.
        history: one record a logged point.
    """

    model: Any
    auxiliary: nn.Module | None
    optimizers: list[torch.optim.Optimizer]
    average: Average
    rng: np.random.Generator
    generator: torch.Generator
    stage: int = 0
    step: int = 0
    minutes: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


def set_image_size(model: Sam2, size: int) -> None:
    """Let a model work at another picture size (a multiple of 32 px); no weight depends on it."""
    model.image_size = size
    model.sam_prompt_encoder.image_size = size
    model.sam_prompt_encoder.grid_size = size // 16


def save_run(run: Run, folder: Path) -> None:
    """Save everything that a resumed run needs, replacing the last state in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "model": run.model.state_dict(),
        "auxiliary": None if run.auxiliary is None else run.auxiliary.state_dict(),
        "optimizers": [o.state_dict() for o in run.optimizers],
        "average": run.average.values,
        "updates": run.average.updates,
        "rng": json.dumps(run.rng.bit_generator.state),
        "generator": run.generator.get_state(),
        "stage": run.stage,
        "step": run.step,
        "minutes": run.minutes,
        "history": run.history,
    }
    part = folder / f"{_STATE}.part"
    torch.save(state, part)
    os.replace(part, folder / _STATE)


def load_run(run: Run, folder: Path) -> bool:
    """Resume from ``folder``, in place; returns False where nothing was saved."""
    path = folder / _STATE
    if not path.is_file():
        return False
    device = next(run.model.parameters()).device
    state = torch.load(path, map_location=device, weights_only=True)
    run.model.load_state_dict(state["model"])
    if run.auxiliary is not None and state["auxiliary"] is not None:
        run.auxiliary.load_state_dict(state["auxiliary"])
    for optimizer, saved in zip(run.optimizers, state["optimizers"], strict=True):
        base = [group["base"] for group in optimizer.param_groups]
        optimizer.load_state_dict(saved)
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["base"] = rate  # the configuration's rate, should it have changed
    run.average.values = state["average"]
    run.average.updates = state["updates"]
    run.rng.bit_generator.state = json.loads(state["rng"])
    run.generator.set_state(state["generator"].cpu())
    run.stage, run.step, run.minutes = state["stage"], state["step"], state["minutes"]
    run.history = state["history"]
    return True


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
