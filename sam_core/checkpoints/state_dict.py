"""The state dict inside what a file holds: trainers wrap it in dictionaries and put prefixes before its names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sam_core.checkpoints.files import read_content
from sam_core.errors import CheckpointError

_log = logging.getLogger(__name__)

# Where trainers put the weights, best first: an average of the weights is what they evaluate with.
AVERAGES = (
    "model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "ema_model_state_dict", "ema", "average", "shadow",
)  # fmt: skip
WEIGHTS = ("model", "state_dict", "model_state_dict", "module", "network", "net", "params")
# What wrappers of a whole model put before its names: data parallelism, averages and `torch.compile`, Lightning.
PREFIXES = ("module.", "_orig_mod.", "model.", "ema_model.")
_COUNTER = "n_averaged"  # of torch.optim.swa_utils.AveragedModel, beside its weights
_DEPTH = 4  # dictionaries inside each other


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, and log its SHA-256 and what was unwrapped.

    Args:
        path: a `.pt` or `.safetensors` file, or a folder of shards (see `read_content`). The state dict may lie under a
            trainer's key such as `model`, of which an average (EMA) goes before, and all names may have a wrapper's
            prefix such as `module.`.

    Returns:
        Names and tensors on the CPU, as the file names them but for such a prefix.

    Raises:
        CheckpointError: the file is missing, truncated, or not a checkpoint.
    """
    path = Path(path).expanduser()
    content = read_content(path)
    state = _find(content, path)
    if state is None:
        held = ", ".join(f"{key} ({type(value).__name__})" for key, value in list(content.items())[:8]) or "nothing"
        raise CheckpointError(f'{path} holds no state dict: expected {{"model": {{name: tensor}}}}, found {held}.')
    return _without_prefixes(state, path)


def _find(content: Mapping[Any, Any], path: Path, depth: int = 0) -> dict[str, Tensor] | None:
    """Return the state dict that is `content` or lies in it; None where there is none."""
    if content and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()):
        return dict(content)
    if depth == _DEPTH:
        return None
    for key in (*AVERAGES, *WEIGHTS):
        inner = content.get(key)
        state = _find(inner, path, depth + 1) if isinstance(inner, Mapping) else None
        if state is None:
            continue
        others = [other for other in (*AVERAGES, *WEIGHTS) if other != key and isinstance(content.get(other), Mapping)]
        if key in AVERAGES or others:
            _log.warning("%s: the weights are those under %r%s.", path.name, key, _instead_of(others))
        return state
    return None


def _instead_of(keys: list[str]) -> str:
    return f", not those under {', '.join(map(repr, keys))}" if keys else ""


def _without_prefixes(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Remove the prefixes of wrappers where every name has them."""
    removed = ""
    while True:
        named = {name: tensor for name, tensor in state.items() if name != _COUNTER}
        prefix = next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in named)), None)
        if prefix is None or not named:
            break
        state = {name.removeprefix(prefix): tensor for name, tensor in named.items()}
        removed += prefix
    if removed:
        _log.warning("%s: the prefix %r was taken off the names.", path.name, removed)
    return state
