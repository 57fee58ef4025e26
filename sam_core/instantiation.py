"""From a model's configuration to its modules: nothing but our own classes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, TypeVar

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

M = TypeVar("M", bound=nn.Module)

OWN = "sam_core."


def build_modules(config: DictConfig, kind: type[M]) -> M:
    """Build the modules that a configuration describes, in evaluation mode.

    `_target_` can come from outside, as overrides do, and Hydra would call whatever it names.

    Args:
        config: of the outermost module, with its `_target_`.
        kind: what the outermost module must be.

    Raises:
        ValueError: a `_target_` is not a module class of this package, or the outermost one is of another kind.
    """
    for target in _targets(OmegaConf.to_container(config, resolve=True)):
        _check(target)
    module = instantiate(config)
    if not isinstance(module, kind):
        raise ValueError(f"The model must be a {kind.__name__}, not a {type(module).__name__}.")
    return module.eval()


def _targets(node: Any) -> Iterator[Any]:
    """Yield every `_target_` in nested dicts and lists."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _targets(item)


def _check(target: Any) -> None:
    refusal = f"A model consists of modules of {OWN.rstrip('.')}; _target_ cannot be {target!r}."
    if not isinstance(target, str) or not target.startswith(OWN):
        raise ValueError(refusal)
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise ValueError(refusal) from error
    # A class that one of our modules imports from elsewhere has another home.
    if not isinstance(found, type) or not issubclass(found, nn.Module) or not found.__module__.startswith(OWN):
        raise ValueError(refusal)
