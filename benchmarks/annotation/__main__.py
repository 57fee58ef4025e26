"""Questions about `sam-annotate` that tests are too short for; each prints rows of a table.

python -m benchmarks.annotation long            # 10 minutes of images: result, memory, cost beside the model
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.annotation import long_bag

MODEL = ("--model", "sam2_nano", "--overrides", "model.image_size=192", "--device", "cpu", "--threads", "1")


def main() -> None:
    """Run one measurement, print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.annotation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, help="where recordings and runs go; default: one that is removed")
    commands = parser.add_subparsers(required=True, dest="what")
    long = commands.add_parser("long", help="a long bag beside one of a minute; 1.7 GB a minute")
    long.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="annotation_") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(*long_bag.measure(folder, options.minutes, MODEL), sep="\n")


if __name__ == "__main__":
    main()
