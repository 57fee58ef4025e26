"""The state of a pass as a file of plain data: tensors in the safetensors format, everything else as JSON beside them.

Nothing of a file is run: reading makes values of a few built-in types, enumerations and dataclasses of `sam_core`,
whose fields are set without a call. A stranger's file can hold wrong numbers, and no more.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

__all__ = ["StateFileError", "read_state", "state_bytes"]

_HOME = "sam_core."  # where classes may come from
_PLAIN = (bool, int, float, str)
_MANY: dict[str, type] = {kind.__name__: kind for kind in (tuple, list, set, frozenset)}


class StateFileError(ValueError):
    """A file that holds no state, or one of another version."""


def state_bytes(state: Any) -> bytes:
    """Return the file of a state.

    Raises:
        TypeError: The state holds something that a file has no form for.
    """
    tensors: dict[str, Tensor] = {}
    names: dict[int, str] = {}
    text = json.dumps(_plain(state, tensors, names), separators=(",", ":"))
    return save(tensors, metadata={"state": text})


def _plain(value: Any, tensors: dict[str, Tensor], names: dict[int, str]) -> Any:
    """Return a value as JSON has it; tensors go into `tensors`, one that occurs twice once."""
    kind = type(value)
    if value is None or kind in _PLAIN:
        return value
    if kind.__name__ in _MANY and kind is _MANY[kind.__name__]:
        return [kind.__name__, [_plain(one, tensors, names) for one in value]]
    if isinstance(value, dict):
        return ["dict", [[_plain(one, tensors, names) for one in pair] for pair in value.items()]]
    if isinstance(value, Tensor):
        # Dimensions in the order of memory: what is computed from a tensor may depend on it in the last bit.
        strides = value.stride()
        order = sorted(range(value.ndim), key=lambda k: -strides[k])
        name = names.setdefault(id(value), str(len(names)))
        if name not in tensors:
            tensors[name] = value.detach().permute(order).cpu().clone(memory_format=torch.contiguous_format)
        return ["tensor", name, order, value.device.type == "cpu"]
    if isinstance(value, np.ndarray):
        name = names.setdefault(id(value), str(len(names)))
        tensors[name] = torch.from_numpy(np.array(value))  # writable, as torch likes it
        return ["array", name]
    if isinstance(value, Enum):
        return ["enum", _name_of(kind), value.name]
    if is_dataclass(value):
        content = {one.name: _plain(getattr(value, one.name), tensors, names) for one in fields(value)}
        return ["object", _name_of(kind), content]
    raise TypeError(f"A state cannot hold a {kind.__name__}.")


def _name_of(kind: type) -> str:
    if not kind.__module__.startswith(_HOME):
        raise TypeError(f"A state cannot hold a {kind.__name__} of {kind.__module__}.")
    return f"{kind.__module__}:{kind.__qualname__}"


def read_state(path: Path, device: torch.device) -> Any:
    """Read the file of a state.

    Args:
        path: The file.
        device: Where tensors go that were not on a CPU.

    Raises:
        StateFileError: It holds no state, or one of another version of this package.
    """
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {})["state"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
        return _value(json.loads(text), tensors, device)
    except StateFileError:
        raise
    except (
        SafetensorError,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        RecursionError,
        RuntimeError,
    ) as error:
        raise StateFileError(f"it holds no state ({type(error).__name__}: {error})") from error


def _value(plain: Any, tensors: dict[str, Tensor], device: torch.device) -> Any:
    if plain is None or type(plain) in _PLAIN:
        return plain
    kind, content, *more = plain
    if kind in _MANY:
        return _MANY[kind](_value(one, tensors, device) for one in content)
    if kind == "dict":
        return {_value(key, tensors, device): _value(value, tensors, device) for key, value in content}
    if kind == "tensor":
        order, on_cpu = more
        tensor = tensors[content].permute([order.index(k) for k in range(len(order))])
        return tensor if on_cpu else tensor.to(device)
    if kind == "array":
        return tensors[content].numpy()
    if kind == "enum":
        return _class_named(content, Enum)[more[0]]
    if kind == "object":
        return _object(_class_named(content, object), more[0], tensors, device)
    raise StateFileError(f"it holds something unknown ({kind!r:.40})")


def _class_named(name: str, base: type) -> Any:
    """Return a class of `sam_core` that is loaded: an enumeration, or a dataclass."""
    module, _, path = name.partition(":")
    found = vars(sys.modules[module]).get(path) if module.startswith(_HOME) else None
    if not (isinstance(found, type) and issubclass(found, base) and (issubclass(found, Enum) or is_dataclass(found))):
        raise StateFileError(f"it names {name!r:.80}, which is no class that a state holds")
    return found


def _object(kind: type, content: dict[str, Any], tensors: dict[str, Tensor], device: torch.device) -> Any:
    """Make a dataclass of its fields, without calling it."""
    if not is_dataclass(kind) or set(content) != {one.name for one in fields(kind)}:
        raise StateFileError(f"it holds a {kind.__name__} of another version")
    made: Any = object.__new__(kind)
    for name, value in content.items():
        object.__setattr__(made, name, _value(value, tensors, device))
    return made
