"""The file format: safetensors with a header of facts. What is read may come from anybody, and is checked in bounds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from sam_core.errors import PromptError, SavedObjectError
from sam_core.saved_objects.record import SavedObject
from sam_core.streaming import ObjectMemory
from sam_core.streaming.prompt import check_label
from sam_core.streaming.state import LARGEST_ID

__all__ = ["LARGEST_FILE", "MOST_MEMORIES", "SUFFIX", "from_bytes", "to_bytes"]

SUFFIX = ".safetensors"
LARGEST_FILE = 32 * 2**20  # bytes; 16 memories of the largest model in float32 take half of it
KIND, VERSION = "sam_core saved object", "1"
_LARGEST_HEADER = 64 * 2**10  # bytes
MOST_MEMORIES = 16
_MOST_REFERENCES = 8
_LARGEST_VALUE = 1e4  # no network remembers numbers as large as this
_DTYPES = ("F32", "F16", "BF16")
_REFERENCE = "reference."
_TEXTS = {"model": r"[\w.+-]{1,100}", "weights": r"[0-9a-f]{64}", "date": r"[0-9T:.+Z-]{1,40}"}
_NUMBERS = {"object_id": (1, LARGEST_ID), "side": (1, 2**16), "height": (0, 2**20), "width": (0, 2**20)}


def to_bytes(saved: SavedObject) -> bytes:
    """Return the file of a saved object.

    Raises:
        SavedObjectError: `from_bytes` would refuse it; the message says why.
    """
    memory = saved.memory
    tensors = {"spatial": memory.spatial, "pointers": memory.pointers}
    tensors |= {_REFERENCE + name: tensor for name, tensor in memory.references.items()}
    facts = {
        "kind": KIND,
        "version": VERSION,
        "model": saved.model,
        "weights": saved.weights,
        "date": saved.date,
        "object_id": str(saved.object_id),
        "side": str(saved.side),
        "height": str(saved.image_size[0]),
        "width": str(saved.image_size[1]),
        "label": memory.label,
        "concept": saved.concept,
    }
    data = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=facts)
    if len(data) > LARGEST_FILE:
        raise SavedObjectError(f"The object takes {len(data)} bytes; a file has at most {LARGEST_FILE}.")
    try:
        from_bytes(data)
    except SavedObjectError as error:
        raise SavedObjectError(f"The object cannot be saved, for it could not be loaded: {error}") from error
    return data


def from_bytes(data: bytes) -> SavedObject:
    """Read the file of a saved object; nothing is allocated beyond the file's own size.

    Args:
        data: at most `LARGEST_FILE` bytes.

    Raises:
        SavedObjectError: it is no such file, or of another version, or damaged; the message says how.
    """
    header = _header(data)
    facts = header.pop("__metadata__", None)
    if not isinstance(facts, dict) or facts.get("kind") != KIND:
        raise SavedObjectError("It is not the file of a saved object.")
    if facts.get("version") != VERSION:
        raise SavedObjectError(f"Its format has the version {facts.get('version')!r:.20}; known is {VERSION}.")
    _check_shapes(header)
    texts = {name: _text(facts, name) for name in _TEXTS}
    numbers = {name: _number(facts, name) for name in _NUMBERS}
    label, concept = _free_text(facts, "label"), _free_text(facts, "concept")
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise SavedObjectError(f"It is truncated or damaged: {str(error)[:200]}.") from error
    if not all(_is_sane(tensor) for tensor in tensors.values()):
        raise SavedObjectError(f"It holds numbers that are not finite, or larger than {_LARGEST_VALUE:g}.")
    spatial, pointers = tensors.pop("spatial"), tensors.pop("pointers")
    references = {name.removeprefix(_REFERENCE): tensor for name, tensor in tensors.items()}
    return SavedObject(
        object_id=numbers["object_id"],
        memory=ObjectMemory(label, spatial, pointers, references),
        model=texts["model"],
        weights=texts["weights"],
        side=numbers["side"],
        image_size=(numbers["height"], numbers["width"]),
        date=texts["date"],
        concept=concept,
    )


def _header(data: bytes) -> dict[str, Any]:
    """Return the header of a safetensors file, whatever it holds."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise SavedObjectError("It is truncated or no safetensors file: its header goes on beyond its end.")
    if size > _LARGEST_HEADER:
        raise SavedObjectError(f"Its header has {size} bytes; at most {_LARGEST_HEADER} are read.")
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        raise SavedObjectError("It is no safetensors file: its header is no JSON.") from error
    if not isinstance(header, dict):
        raise SavedObjectError("It is no safetensors file: its header is no dictionary.")
    return header


def _check_shapes(header: Mapping[str, Any]) -> None:
    """Refuse tensors that a saved object does not have."""
    shapes: dict[str, list[int]] = {}
    for name, entry in header.items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(type(side) is int and side > 0 for side in shape):
            raise SavedObjectError(f"Its tensor {name!r:.60} has no shape.")
        if entry.get("dtype") not in _DTYPES:
            raise SavedObjectError(f"Its tensor {name!r:.60} has the type {entry.get('dtype')!r:.20}.")
        shapes[name] = shape
    spatial, pointers = shapes.pop("spatial", []), shapes.pop("pointers", [])
    if len(spatial) != 3 or len(pointers) != 2 or spatial[0] != pointers[0] or spatial[0] > MOST_MEMORIES:
        raise SavedObjectError(f"Its memories have the shapes {spatial} and {pointers}, which is not possible.")
    others = [name for name in shapes if not name.startswith(_REFERENCE) or len(shapes[name]) != 1]
    if others or len(shapes) > _MOST_REFERENCES:
        raise SavedObjectError(f"It holds tensors that a saved object does not have ({[*others, *shapes][0]!r:.60}).")


def _text(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    if not isinstance(value, str) or not re.fullmatch(_TEXTS[name], value):
        raise SavedObjectError(f"Its header has no valid {name!r}.")
    return value


def _number(facts: Mapping[str, Any], name: str) -> int:
    value, (least, most) = facts.get(name), _NUMBERS[name]
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,10}", value) or not least <= int(value) <= most:
        raise SavedObjectError(f"Its header has no valid {name!r}.")
    return int(value)


def _free_text(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    if not isinstance(value, str):
        raise SavedObjectError(f"Its header has no {name!r}.")
    try:
        check_label(value)
    except PromptError as error:
        raise SavedObjectError(f"Its {name} is none: {error}") from error
    return value


def _is_sane(tensor: Tensor) -> bool:
    return bool((tensor.to(torch.float32).abs() <= _LARGEST_VALUE).all())  # NaN is not
