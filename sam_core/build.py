"""From a model's name to a tracker: Hydra configuration, modules, strict checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sam_core.checkpoints import load_checkpoint
from sam_core.devices import resolve_device, resolve_dtype
from sam_core.sam2 import Sam2

if TYPE_CHECKING:
    from sam_core.streaming import Tracker

_log = logging.getLogger(__name__)
_PACKAGE = Path(__file__).resolve().parent


def config_dir() -> Path:
    """Return the folder of model configurations: inside an installed package, or beside it in a checkout."""
    for folder in (_PACKAGE / "config" / "models", _PACKAGE.parent / "config" / "models"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"No model configurations beside {_PACKAGE}: the installation is incomplete.")


def model_names() -> list[str]:
    """List the SAM 2 models that `build_tracker` knows by name."""
    return sorted(path.stem for path in config_dir().glob("sam2*.yaml"))


def shipped_weights(name: str) -> Path | None:
    """Return the weights of our own that come with the package for a model, if any."""
    path = _PACKAGE / "weights" / f"{name}.safetensors"
    return path if path.is_file() else None


def load_config(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Compose a model's configuration.

    Args:
        name: stem of a file in `config/models`.
        overrides: Hydra overrides, for instance `model.image_size=512`.

    Raises:
        ValueError: no such model, or an override that does not apply.
    """
    folder = config_dir()
    if not (folder / f"{name}.yaml").is_file():
        raise ValueError(f"There is no model {name!r}; known are {', '.join(model_names())}.")
    outer = GlobalHydra.instance().hydra  # the caller's program may itself be a Hydra program
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            return compose(f"{name}.yaml", overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(
            f"The configuration of {name!r} with overrides {list(overrides)} is not valid: {error}"
        ) from error
    finally:
        GlobalHydra.instance().hydra = outer


def build_model(name: str, overrides: Sequence[str] = ()) -> Sam2:
    """Build a model with random weights, float32 on the CPU, in evaluation mode."""
    return instantiate(load_config(name, overrides).model).eval()


def build_tracker(
    name: str,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    overrides: Sequence[str] = (),
) -> Tracker:
    """Build a SAM 2 or SAM 2.1 tracker.

    Args:
        name: a model of `config/models`, for instance `sam2.1_hiera_tiny`.
        checkpoint: Meta's `.pt`, a `.safetensors` file with the same names, or the Hugging Face layout of it. Where
            None, the weights that ship with the package, else random weights (with a warning).
        device: where to run; CUDA if there is any, else the CPU.
        dtype: the networks' dtype (`float32`, `bfloat16`, `float16`); bfloat16 on CUDA, float32 elsewhere.
        overrides: Hydra overrides of the configuration, for instance `["model.image_size=512"]`.

    Raises:
        ValueError: an unknown name, device, dtype or override.
        CheckpointError: a checkpoint that cannot be read or does not fit.
    """
    from sam_core.streaming import Tracker

    target = resolve_device(device)
    kind = resolve_dtype(dtype, target)
    model = build_model(name, overrides)
    source = Path(checkpoint) if checkpoint else shipped_weights(name)
    if source is None:
        _log.warning("%s has random weights: no checkpoint was given, so its masks mean nothing.", name)
    else:
        load_checkpoint(model, source, name)
    model.requires_grad_(False)
    return Tracker(model.to(device=target, dtype=kind), name=name, checkpoint=source)
