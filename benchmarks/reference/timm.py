"""Gives `transformers` timm where torchvision is not installed: its EdgeTAM takes the trunk from there."""

from __future__ import annotations

import enum
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from benchmarks.reference.peers import required

__all__ = ["wrapped_timm_config"]

_WRAPPER = "transformers.models.timm_wrapper"

_NAMES = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.datasets.folder",
    "torchvision.io",
    "torchvision.models",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "torchvision.transforms.v2",
)


class _InterpolationMode(enum.Enum):
    """The members that timm names when it is imported."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


class _StandIn(ModuleType):
    """A module whose attributes are its own modules, else empty classes: timm's import reads some, RepViT uses none."""

    InterpolationMode = _InterpolationMode

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []  # a package, whose modules are imported by name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return sys.modules.get(f"{self.__name__}.{name}") or type(name, (), {})


def wrapped_timm_config(architecture: str, model_args: dict[str, Any]) -> Any:
    """Return `transformers`' configuration of a timm model, after which that model can be built.

    Args:
        architecture: timm's name.
        model_args: what `timm.create_model` is given.

    Raises:
        MissingPeerError: timm or `transformers` is not installed.
    """
    wrapper = required(f"{_WRAPPER}.modeling_timm_wrapper")  # before timm: it asks whether torchvision is there
    wrapper.timm = _import_timm()
    wrapper.requires_backends = lambda *_: None
    config = required(f"{_WRAPPER}.configuration_timm_wrapper")
    return config.TimmWrapperConfig(architecture=architecture, model_args=model_args)


def _import_timm() -> Any:
    """Import timm; where torchvision is missing, stand-ins take its place during the import alone."""
    if "timm" in sys.modules or find_spec("torchvision") is not None:
        return required("timm")
    sys.modules.update({name: _StandIn(name) for name in _NAMES})
    try:
        return required("timm")
    finally:
        for name in _NAMES:
            del sys.modules[name]
