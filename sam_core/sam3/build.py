"""From a model's name to a concept detector: Hydra configuration, modules, strict checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sam_core.build import shipped_weights
from sam_core.configuration import config_names, load_config
from sam_core.devices import resolve_device, resolve_dtype
from sam_core.instantiation import build_modules
from sam_core.isolation import build_context
from sam_core.sam3.checkpoint import load_detector_checkpoint
from sam_core.sam3.detector import ConceptDetector
from sam_core.sam3.network import ConceptNetwork
from sam_core.sam3.sharing import share_trunk
from sam_core.sam3.tracker import Sam3Tracker
from sam_core.sam3.vit import Vit

if TYPE_CHECKING:
    from sam_core.streaming import Tracker

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
    *,
    beside: Tracker | None = None,
    text_on_cpu: bool = False,
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
        beside: a tracker. If it is SAM 3's, on the same device, in the same dtype and with the same trunk, number by
            number, the detector uses that trunk rather than one of its own: see `ConceptDetector.shares_trunk`. A
            detector without a checkpoint then takes any trunk of its shape.
        text_on_cpu: keep the text encoder, two fifths of the weights, on the CPU in float32. It runs once for each
            phrase; what it says of a phrase goes to the device and is kept there.

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
    trunk = _trunk_of(beside, target, kind)
    shares = trunk is not None and share_trunk(network, trunk, weights_matter=source is not None)
    if shares:
        _log.info("The detector uses the tracker's trunk.")
    _move(network, target, kind, text_on_cpu=text_on_cpu)
    return ConceptDetector(network, name, load_report=report, shares_trunk=shares, **config.detector)


def _trunk_of(tracker: Tracker | None, device: torch.device, dtype: torch.dtype) -> Vit | None:
    """Return the trunk of a tracker that a detector could share: None if it is of another kind, place or dtype."""
    if tracker is None or not isinstance(tracker.model, Sam3Tracker):
        return None
    here = torch.zeros(0, device=device).device  # "cuda" as "cuda:0"
    return tracker.model.trunk if (tracker.device, tracker.dtype) == (here, dtype) else None


def _move(network: ConceptNetwork, device: torch.device, dtype: torch.dtype, *, text_on_cpu: bool) -> None:
    """Move a network to its device part by part, so that a text encoder that stays behind never takes room there."""
    text = network.backbone.language_backbone
    if text_on_cpu:
        text.to(device="cpu", dtype=torch.float32)
    else:
        text.to(device=device, dtype=dtype)
    others = [module for name, module in network.named_children() if name != "backbone"]
    for module in (network.backbone.vision_backbone, *others):
        module.to(device=device, dtype=dtype)


def _check_name(name: str) -> None:
    if name not in detector_names():
        raise ValueError(f"There is no detector {name!r}; known are {', '.join(detector_names())}.")
