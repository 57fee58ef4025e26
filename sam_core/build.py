"""From a model's name to a tracker: Hydra configuration, modules, strict checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from sam_core.backends.cpu import optimise_for_cpu
from sam_core.checkpoints import load_checkpoint
from sam_core.configuration import PACKAGE, config_dir, config_names, load_config
from sam_core.devices import resolve_device, resolve_dtype
from sam_core.instantiation import build_modules
from sam_core.isolation import build_context
from sam_core.sam2 import Sam2

if TYPE_CHECKING:
    from sam_core.streaming import Tracker

_log = logging.getLogger(__name__)


def model_names() -> list[str]:
    """List the models that `build_tracker` knows by name: SAM 2's, EdgeTAM's, and SAM 3's that have a tracker."""
    folder = config_dir("models")
    return [
        name
        for name in config_names("models")
        if name.startswith(("sam2", "edgetam")) or _has_tracker(folder / f"{name}.yaml")
    ]


def _has_tracker(path: Path) -> bool:
    config = OmegaConf.load(path)
    return isinstance(config, DictConfig) and any(str(part).endswith("@tracker") for part in config.get("defaults", ()))


def shipped_weights(name: str) -> Path | None:
    """Return the weights of our own that come with the package for a model, if any."""
    path = PACKAGE / "weights" / f"{name}.safetensors"
    return path if path.is_file() else None


@build_context()
def build_model(name: str, overrides: Sequence[str] = ()) -> Sam2:
    """Build a model with random weights, float32 on the CPU, in evaluation mode: plain PyTorch without a backend.

    Raises:
        ValueError: not a model with a tracker, or an override that does not apply.
    """
    return _modules(_model_config(name, overrides))


def _modules(config: DictConfig) -> Sam2:
    return build_modules(config.tracker if "tracker" in config else config.model, Sam2)


def _model_config(name: str, overrides: Sequence[str]) -> DictConfig:
    if name not in model_names():
        raise ValueError(f"There is no tracker {name!r}; known are {', '.join(model_names())}.")
    from sam_core.streaming.renamed import override_with_new_name

    return load_config("models", name, [override_with_new_name(override) for override in overrides])


@cache
def known_models() -> tuple[tuple[str, dict[str, Tensor]], ...]:
    """Return the name of each model, and its tensors without memory: to tell which one a file is of."""
    with torch.device("meta"):
        return tuple((name, build_model(name).state_dict()) for name in model_names())


def tracking_choices(config: DictConfig) -> dict[str, Any]:
    """Return `Tracker`'s arguments that a model's configuration names beside its networks."""
    from sam_core.streaming import CHOICES

    return {key: config[key] for key in ("memory_policy", "pin_first_frame", *CHOICES) if key in config}


def _loaded(config: DictConfig, source: Path | None, name: str) -> Sam2:
    """Build the modules, with the weights of a file if there is one."""
    if source is None or "tracker" not in config:
        model = _modules(config)
        if source is not None:
            load_checkpoint(model, source, name, known_models)
        return model
    from sam_core.sam3.checkpoint import load_tracker_checkpoint
    from sam_core.sam3.tracker import Sam3Tracker

    with torch.device("meta"):  # the modules take over the file's tensors, and need no memory of their own
        tracker = build_modules(config.tracker, Sam3Tracker)
    load_tracker_checkpoint(tracker, source, name)
    return tracker


@build_context()
def build_tracker(
    name: str,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    overrides: Sequence[str] = (),
) -> Tracker:
    """Build a SAM 2, SAM 2.1, SAM 3 or EdgeTAM tracker; on a CPU with the backend for CPUs (`sam_core.backends.cpu`).

    Args:
        name: a model of `config/models`, for instance `sam2.1_hiera_tiny`.
        checkpoint: Meta's `.pt`, a `.safetensors` file with the same names, or the Hugging Face layout of it, also as
            a folder of shards. The detector's part of SAM 3's files is left out. Where None, the weights that ship with
            the package, else random ones (with a warning).
        device: where to run; CUDA if there is any, else the CPU.
        dtype: the networks' dtype (`float32`, `bfloat16`, `float16`); where None, bfloat16 on CUDA and on CPUs with
            AVX-512 BF16 or AMX, float32 elsewhere.
        overrides: Hydra overrides of the configuration, for instance `["model.image_size=512"]`: values, and classes of
            this package.

    Raises:
        ValueError: an unknown name, device, dtype or override.
        CheckpointError: a checkpoint that cannot be read or does not fit.
    """
    from sam_core.streaming import Tracker

    target = resolve_device(device)
    kind = resolve_dtype(dtype, target)
    config = _model_config(name, overrides)
    source = Path(checkpoint) if checkpoint else shipped_weights(name)
    model = _loaded(config, source, name)
    if source is None:
        _log.warning("%s has random weights: no checkpoint was given, so its masks mean nothing.", name)
    model.requires_grad_(False).to(device=target, dtype=kind)
    if target.type == "cpu":
        optimise_for_cpu(model)
    return Tracker(model, name=name, checkpoint=source, **tracking_choices(config))
