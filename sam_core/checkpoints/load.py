"""Strict loading: every name and shape must be the model's, and every number finite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from sam_core.checkpoints.hugging_face import is_hugging_face_sam2, rename_hugging_face_sam2
from sam_core.checkpoints.identify import KnownModels, origin_of, same_tensors
from sam_core.checkpoints.state_dict import read_state_dict
from sam_core.errors import CheckpointError

Rename = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]

_SHOWN = 4  # names listed in a message before it says "and N more"


def as_sam2(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rename a state dict of SAM 2, in Meta's layout or that of Hugging Face, to the names of `sam_core.sam2.Sam2`."""
    return rename_hugging_face_sam2(state) if is_hugging_face_sam2(state) else state


def load_checkpoint(
    model: nn.Module,
    path: str | Path,
    model_name: str = "the model",
    known: KnownModels = tuple,
    as_ours: Rename = as_sam2,
) -> None:
    """Load a checkpoint strictly: every name and shape must be the model's, and every number finite.

    Args:
        model: the network to fill; one on the device `meta` takes over the file's tensors, in their dtypes.
        path: Meta's layout or the Hugging Face layout of the same checkpoint; see `read_state_dict`.
        model_name: what to call the model in messages.
        known: models that a file which does not fit may be of, so that the message can name the right one.
        as_ours: from the names in a file of the model to those of `model`.

    Raises:
        CheckpointError: the file cannot be read, or does not fit; the message names what differs.
    """
    state = as_ours(read_state_dict(path))
    expected = model.state_dict()
    differences = describe_differences(expected, state)
    if differences:
        origin = "" if same_tensors(expected, state) else origin_of(state, model_name, known)
        reason = f"the file {origin}; {differences}" if origin else differences
        raise CheckpointError(f"{Path(path).name} does not fit {model_name}: {reason}.")
    model.load_state_dict(state, strict=True, assign=any(tensor.is_meta for tensor in expected.values()))


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
    if tensor.is_floating_point() and tensor.itemsize == 1:  # not all of these types can be asked
        tensor = tensor.float()
    return tensor.is_meta or bool(tensor.isfinite().all())


def _shorten(names: Iterable[str]) -> str:
    names = list(names)
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f", and {rest} more" if rest > 0 else "")
