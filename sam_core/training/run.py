"""The state of a training run, and how it is saved, resumed and exported."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

    def save(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Save everything that a resumed run needs; the previous state is replaced in one step.

        Args:
            folder: where.
            identity: the settings that the state belongs to; see `read_state`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "identity": json.dumps(identity),
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
        with _replacing(folder / _STATE) as part:
            torch.save(state, part)

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
        self.generator.set_state(state["generator"])
        self.stage, self.step, self.minutes = state["stage"], state["step"], state["minutes"]
        self.history = state["history"]


def read_state(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the state that a run saved in ``folder`` onto the CPU; None where there is none.

    `Run.load` copies from there. AdamW's step counters stay on the CPU, where they belong: on a GPU, each step would
    wait for them.

    Args:
        folder: where.
        identity: the settings that the state must belong to.

    Raises:
        ValueError: the state cannot be read, or is of a run with other settings.
    """
    path = folder / _STATE
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        saved = json.loads(state.get("identity", "{}"))
    except (OSError, RuntimeError, EOFError, ValueError, AttributeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is no state of a run: delete it, or choose another folder with output=.") from error
    asked = json.loads(json.dumps(identity))
    changed = [f"{key}={saved[key]}, not {asked.get(key)}" for key in saved if saved[key] != asked.get(key)]
    if changed:
        raise ValueError(f"{folder} holds a run with {'; '.join(changed)}: choose another folder with output=.")
    return state


def export_weights(
    values: Mapping[str, Tensor], path: Path, metadata: dict[str, str], dtype: torch.dtype = torch.float16
) -> int:
    """Write weights in one step, as safetensors or as Meta's files; returns the file's size in bytes.

    Complex tables (SAM 3's rotary positions) and whole numbers stay as they are.

    Args:
        values: by parameter name.
        path: ends in ``.safetensors``; in ``.pt``, which holds ``{"model": values}`` as published files of SAM 2 do;
            or in ``.pth``, which holds the values alone, as those of SAM 1 do.
        metadata: of a safetensors file.
        dtype: of the file; loading casts to the model's.
    """
    cpu = {name: value.detach().cpu() for name, value in values.items()}
    cast = {name: (value.to(dtype) if value.is_floating_point() else value) for name, value in cpu.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path) as part:
        if path.suffix in (".pt", ".pth"):
            own = {name: value.clone() for name, value in cast.items()}
            torch.save({"model": own} if path.suffix == ".pt" else own, part)
        else:
            save_file({name: value.contiguous() for name, value in cast.items()}, str(part), metadata=metadata)
        part.chmod(0o644)  # the writer leaves it readable by its owner alone
    return path.stat().st_size


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a file to write to that takes the place of ``path`` only when it is complete and on the disk."""
    part = path.with_name(f"{path.name}.part")
    yield part
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
