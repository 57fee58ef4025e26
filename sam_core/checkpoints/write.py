"""Write weights as one file: the whole of it is there, or what was there before."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sam_core.errors import CheckpointError


def write_safetensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors to a file, in place of one that is there.

    Args:
        state: the tensors; those that share memory, or are parts of a larger one, are written each for itself.
        path: the file.

    Raises:
        CheckpointError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, partial)
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be written: {error}.") from error
    finally:
        with suppress(OSError):
            partial.unlink()
