"""Read a checkpoint file and load it strictly."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sam_core.checkpoints.hugging_face import is_hugging_face_sam2, rename_hugging_face_sam2
from sam_core.errors import CheckpointError

_log = logging.getLogger(__name__)

_SHOWN = 4  # names listed in a message before it says "and N more"


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a `.pt` or `.safetensors` file, and log its SHA-256.

    Args:
        path: Meta's `.pt` (`{"model": state_dict}`, or the state dict itself) or a `.safetensors` file. Nothing but
            tensors is unpickled.

    Returns:
        Names and tensors on the CPU, as the file names them.

    Raises:
        CheckpointError: the file is missing, truncated, or not a checkpoint.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint file {path}.")
    try:
        _log.info("%s has the SHA-256 %s.", path.name, sha256(path))
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{path} is truncated or not a checkpoint: {reason}") from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f'{path} holds no state dict: expected {{"model": {{name: tensor}}}}.')
    return dict(content)


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def load_checkpoint(model: nn.Module, path: str | Path, model_name: str = "the model") -> None:
    """Load a SAM 2 or 2.1 checkpoint: every name and shape must be the model's, and every number finite.

    Args:
        model: the network to fill.
        path: Meta's layout or the Hugging Face layout of the same checkpoint.
        model_name: what to call the model in messages.

    Raises:
        CheckpointError: the file cannot be read, or does not fit; the message names what differs.
    """
    state = read_state_dict(path)
    if is_hugging_face_sam2(state):
        state = rename_hugging_face_sam2(state)
    expected = model.state_dict()
    differences = describe_differences(expected, state)
    if differences:
        raise CheckpointError(f"{Path(path).name} does not fit {model_name}: {differences}.")
    model.load_state_dict(state, strict=True)


def describe_differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Say in words what keeps the tensors of a file from being a model's; empty where nothing does."""
    parts = []
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    reshaped = [
        f"{name} is {tuple(found[name].shape)} in the file and {tuple(tensor.shape)} in the model"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if missing:
        parts.append(f"{len(missing)} of {len(expected)} tensors are missing ({_shorten(missing)})")
    if unexpected:
        parts.append(f"{len(unexpected)} are unknown to the model ({_shorten(unexpected)})")
    if reshaped:
        parts.append(f"{len(reshaped)} have another shape ({_shorten(reshaped)})")
    broken = [name for name in expected if name in found and not _is_finite(found[name])]
    if broken:
        parts.append(f"{len(broken)} contain NaN or infinity ({_shorten(broken)})")
    return "; ".join(parts)


def _is_finite(tensor: Tensor) -> bool:
    return tensor.is_meta or bool(tensor.isfinite().all())


def _shorten(names: Iterable[str]) -> str:
    names = list(names)
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f", and {rest} more" if rest > 0 else "")
