"""What a checkpoint file holds, whatever its kind: safetensors, PyTorch's format, or a folder of shards."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sam_core.errors import CheckpointError

_log = logging.getLogger(__name__)

INDEX = ".safetensors.index.json"
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
# Before it a crafted file gets around `weights_only`: CVE-2025-32434 (before 2.6) and CVE-2026-24747 (before 2.10).
SAFE_TORCH = (2, 10)
CONVERT = "python -m sam_core.checkpoints IN.pt OUT.safetensors"
_HEAD = 512  # bytes that tell the kind of a file


def read_content(path: Path) -> Mapping[Any, Any]:
    """Read what a checkpoint holds: tensors by name, possibly inside the dictionary of a trainer.

    Args:
        path: a file of safetensors or of `torch.save`, an index of shards (`*.safetensors.index.json`), or a folder
            with one of these, as Hugging Face's. Nothing but tensors and plain values is unpickled. The SHA-256 of each
            file that is read is logged.

    Raises:
        CheckpointError: there is no such file, or it is something else; the message says what.
    """
    if path.is_dir():
        path = _file_in(path)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint file {path}.")
    return _read_shards(path) if path.name.endswith(INDEX) else _read_file(path)


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _file_in(folder: Path) -> Path:
    """Choose the checkpoint of a folder: its index of shards, else its only file of weights."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    indices = [file for file in files if file.name.endswith(INDEX)]
    whole = [file for file in files if file.name == "model.safetensors"]
    weights = [file for file in files if file.suffix in SUFFIXES]
    for candidates in (indices, whole, weights):
        if len(candidates) == 1:
            return candidates[0]
    if weights:
        names = ", ".join(file.name for file in weights[:8])
        raise CheckpointError(f"{folder} is a folder with several files of weights: name one of them, such as {names}.")
    raise CheckpointError(f"{folder} is a folder without a file of weights ({', '.join(SUFFIXES)}).")


def _read_shards(index: Path) -> dict[str, Tensor]:
    """Read the shards that an index names; they lie beside it."""
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards: dict[str, list[str]] = {}
        for name, shard in names.items():
            if Path(shard).name != shard:
                raise ValueError(f"{shard!r} is not the name of a file beside it")
            shards.setdefault(shard, []).append(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is not an index of shards: {type(error).__name__}: {error}.") from error
    state: dict[str, Tensor] = {}
    for shard, wanted in shards.items():
        if not (index.parent / shard).is_file():
            raise CheckpointError(f"{index.name} names the shard {shard}, which is not in {index.parent}.")
        content = _read_file(index.parent / shard)
        if absent := [name for name in wanted if name not in content]:
            raise CheckpointError(f"{shard} lacks {len(absent)} tensors that {index.name} says it has ({absent[0]}).")
        state.update({name: content[name] for name in wanted})
    return state


def _read_file(path: Path) -> Mapping[Any, Any]:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        read = _reader_of(path, head)
        _log.info("%s has the SHA-256 %s.", path.name, sha256(path))
        content = read(path)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        # The unpickler goes on to explain how to load unsafely; the first line says what is wrong.
        reason = re.split(r"\n|\. ?(?:This file can|In PyTorch 2\.6)", str(error).strip())[0] or type(error).__name__
        raise CheckpointError(f"{path} is truncated or not a checkpoint: {reason}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds no state dict but a {type(content).__name__}.")
    return content


def _reader_of(path: Path, head: bytes) -> Callable[[Path], Any]:
    """Tell the kind of a file by its first bytes.

    Raises:
        CheckpointError: it is none that holds weights.
    """
    if not head:
        raise CheckpointError(f"{path} is empty.")
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return load_file
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return _load_pickled
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} is Git LFS's pointer to a file, not the file: get that with `git lfs pull`.")
    if head.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        raise CheckpointError(f"{path} is a web page: the download gave no checkpoint.")
    if b"\0" not in head:
        raise CheckpointError(f"{path} is a text file, not a checkpoint.")
    raise CheckpointError(f"{path} is not a checkpoint: neither safetensors nor a file of torch.save.")


def _load_pickled(path: Path) -> Any:
    if _torch_version() < SAFE_TORCH:
        raise CheckpointError(
            f"{path} is not read with PyTorch {torch.__version__}, in which a crafted file of this kind can run code: "
            f"convert it to safetensors where PyTorch is newer ({CONVERT}), or update PyTorch to "
            f"{'.'.join(map(str, SAFE_TORCH))} or later."
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        objects = _objects_in(path, str(error))
        if not objects:
            raise
        raise CheckpointError(
            f"{path} holds other objects beside tensors ({', '.join(objects)}). They are not read, because that can "
            "run code; save the weights alone, by torch.save(model.state_dict(), ...) or as safetensors."
        ) from error


def _objects_in(path: Path, reason: str) -> list[str]:
    """Name the classes and functions that a file asks for and that are no part of a tensor."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # PyTorch's format of before 1.6, or a damaged file: whatever its parser stumbles over
        return re.findall(r"GLOBAL ([\w.]+)", reason)[:1]


def _torch_version() -> tuple[int, int]:
    major, minor = re.findall(r"\d+", torch.__version__)[:2]
    return int(major), int(minor)
