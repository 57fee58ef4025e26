"""From a name of SAM 1's models to its network: Hydra configuration, modules, strict checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from sam_core.checkpoints import load_checkpoint
from sam_core.checkpoints.sam1 import as_sam1
from sam_core.configuration import config_names, load_config
from sam_core.instantiation import build_modules
from sam_core.isolation import build_context
from sam_core.sam1.model import Sam1


def sam1_names() -> list[str]:
    """List SAM 1's models."""
    return config_names("models", "sam_vit_*")


@build_context()
def build_sam1(name: str, checkpoint: Path | None = None, overrides: Sequence[str] = ()) -> Sam1:
    """Build SAM 1, float32 on the CPU, in evaluation mode; with random weights where there is no checkpoint.

    Raises:
        ValueError: no such model, or an override that does not apply.
        CheckpointError: a checkpoint that cannot be read or does not fit.
    """
    config = load_config("models", name, overrides).model
    if checkpoint is None:
        return build_modules(config, Sam1)
    with torch.device("meta"):  # the modules take over the file's tensors, and need no memory of their own
        model = build_modules(config, Sam1)
    load_checkpoint(model, checkpoint, name, _known_models, as_sam1)
    return model.float()


@cache
def _sam1_models() -> tuple[tuple[str, dict[str, Tensor]], ...]:
    with torch.device("meta"):
        return tuple((name, build_sam1(name).state_dict()) for name in sam1_names())


def _known_models() -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the name of each model, and its tensors without memory: to tell which one a file is of."""
    from sam_core.build import known_models

    yield from _sam1_models()
    yield from known_models()
