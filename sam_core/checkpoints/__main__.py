"""Convert a checkpoint to safetensors: `python -m sam_core.checkpoints IN.pt OUT.safetensors`.

For machines whose PyTorch is too old to read a `.pt` file safely, such as a Jetson with NVIDIA's build.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from sam_core.checkpoints.state_dict import read_state_dict
from sam_core.checkpoints.write import write_safetensors
from sam_core.errors import CheckpointError


def main() -> None:
    """Read the tensors of a checkpoint and write them, names and numbers unchanged."""
    parser = argparse.ArgumentParser(description="Convert a checkpoint to safetensors.")
    parser.add_argument("source", type=Path, metavar="IN", help="a .pt file, or a folder of shards")
    parser.add_argument("target", type=Path, metavar="OUT", help="the .safetensors file to write")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.target.suffix != ".safetensors":
        parser.error(f"{arguments.target} must end in .safetensors")
    try:
        state = read_state_dict(arguments.source)
        write_safetensors(state, arguments.target)
    except CheckpointError as error:
        parser.exit(1, f"{error}\n")
    print(f"{arguments.target}: {len(state)} tensors")


if __name__ == "__main__":
    main()
