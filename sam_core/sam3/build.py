"""From a model's name to a concept detector: Hydra configuration, modules, strict checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from sam_core.build import shipped_weights
from sam_core.configuration import config_names, load_config
from sam_core.devices import resolve_device, resolve_dtype
from sam_core.instantiation import build_modules
from sam_core.isolation import build_context
from sam_core.sam3.checkpoint import load_detector_checkpoint
from sam_core.sam3.detector import ConceptDetector
from sam_core.sam3.network import ConceptNetwork

_log = logging.getLogger(__name__)


def detector_names() -> list[str]:
    """List the models that `build_detector` knows by name."""
    return config_names("models", "sam3*")


@build_context()
def build_network(name: str = "sam3", overrides: Sequence[str] = ()) -> ConceptNetwork:
    """Build a network with random weights, float32 on the current default device, in evaluation mode.

    Raises:
        ValueError: no such model, or an override that does not apply.
    """
    _check_name(name)
    return build_modules(load_config("models", name, overrides).model, ConceptNetwork)


@build_context()
def build_detector(
    name: str = "sam3",
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    overrides: Sequence[str] = (),
) -> ConceptDetector:
    """Build a SAM 3 concept detector.

    Args:
        name: a model of `config/models`.
        checkpoint: Meta's `sam3.pt` or the Hugging Face layout of it. Where None, the weights that ship with the
            package, else random weights (with a warning).
        device: where to run; CUDA if there is any, else the CPU.
        dtype: the network's dtype (`float32`, `bfloat16`, `float16`); where None, bfloat16 on CUDA and on CPUs with
            AVX-512 BF16 or AMX, float32 elsewhere.
        overrides: Hydra overrides of the configuration, for instance `["detector.cached_phrases=16"]`: values, and
            classes of this package.

    Raises:
        ValueError: an unknown name, device, dtype or override.
        CheckpointError: a checkpoint that cannot be read or does not fit.
    """
    _check_name(name)
    target = resolve_device(device)
    kind = resolve_dtype(dtype, target)
    config = load_config("models", name, overrides)
    source = checkpoint or shipped_weights(name)
    # With a checkpoint to come, the modules need no memory of their own: they take over the file's tensors.
    with torch.device("meta") if source else nullcontext():
        network = build_modules(config.model, ConceptNetwork)
    report = None
    if source:
        report = load_detector_checkpoint(network, source, name)
    else:
        _log.warning("%s has random weights: no checkpoint was given, so its detections mean nothing.", name)
    network.requires_grad_(False)
    return ConceptDetector(network.to(device=target, dtype=kind), name, load_report=report, **config.detector)


def _check_name(name: str) -> None:
    if name not in detector_names():
        raise ValueError(f"There is no detector {name!r}; known are {', '.join(detector_names())}.")
