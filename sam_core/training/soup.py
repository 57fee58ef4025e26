"""Average the weights of several runs of one model: python -m sam_core.training.soup OUT IN IN ...

The mean of fine-tuned weights is often better than each of them ("Model soups", Wortsman et al., 2022, section 2, the
uniform soup). The shipped `sam2_nano` is such a mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sam_core.checkpoints import read_state_dict
from sam_core.errors import CheckpointError
from sam_core.training.run import export_weights

__all__ = ["average_weights"]


def average_weights(files: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean of the weights of checkpoint files by name, float32.

    Args:
        files: of one model; all count alike.

    Raises:
        CheckpointError: a file that cannot be read, or whose names and shapes are not those of the first.
    """
    total: dict[str, Tensor] = {}
    for file in files:
        values = {name: value.to(torch.float32) for name, value in read_state_dict(file).items()}
        if total and {k: v.shape for k, v in values.items()} != {k: v.shape for k, v in total.items()}:
            raise CheckpointError(f"{file} differs in names or shapes from {files[0]}.")
        total = {name: value + total[name] if total else value for name, value in values.items()}
    return {name: value / len(files) for name, value in total.items()}


def main() -> None:
    """Write the mean of the files named on the command line, as float16."""
    parser = argparse.ArgumentParser(description="Average the weights of checkpoint files.")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    parser.add_argument("files", type=Path, nargs="+", help="checkpoint files of one model")
    options = parser.parse_args()
    try:
        size = export_weights(average_weights(options.files), options.out, {"format": "pt"})
    except (CheckpointError, OSError) as error:
        parser.exit(1, f"{error}\n")
    print(f"{options.out}: the mean of {len(options.files)}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
