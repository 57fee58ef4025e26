"""Gives `transformers` timm where torchvision is not installed: its EdgeTAM takes the trunk from there."""

from __future__ import annotations

from typing import Any

from benchmarks.reference.peers import required
from benchmarks.reference.torchvision_stand_in import torchvision_stand_in

__all__ = ["wrapped_timm_config"]

_WRAPPER = "transformers.models.timm_wrapper"


def wrapped_timm_config(architecture: str, model_args: dict[str, Any]) -> Any:
    """Return `transformers`' configuration of a timm model, after which that model can be built.

    Args:
        architecture: timm's name.
        model_args: what `timm.create_model` is given.

    Raises:
        MissingPeerError: timm or `transformers` is not installed.
    """
    wrapper = required(f"{_WRAPPER}.modeling_timm_wrapper")  # before timm: it asks whether torchvision is there
    with torchvision_stand_in():
        wrapper.timm = required("timm")
    wrapper.requires_backends = lambda *_: None
    config = required(f"{_WRAPPER}.configuration_timm_wrapper")
    return config.TimmWrapperConfig(architecture=architecture, model_args=model_args)
