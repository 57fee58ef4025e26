"""Command line: ``python -m benchmarks.models --output docs/models.md``, measures every model and writes its table."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.models.catalogue import CATALOGUE
from benchmarks.models.measure import sizes
from benchmarks.models.table import put_into, table
from benchmarks.speed.report import machine
from benchmarks.speed.timing import CLOCKS, tell

KEYS = [entry.key for entry in CATALOGUE if entry.as_in is None]


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument(
        "--models",
        nargs="*",
        default=KEYS,
        choices=KEYS,
        metavar="KEY",
        help="rows to measure; default: all; without a name: none, the table alone is written",
    )
    parser.add_argument("--frames", type=int, default=3, help="of which the median is taken, at least")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", default="wall", choices=sorted(CLOCKS), help="processor: on a shared CPU, with one thread"
    )
    parser.add_argument("--output", type=Path, default=Path("docs/models.md"), help="page whose table is replaced")
    parser.add_argument(
        "--figures", type=Path, default=Path("outputs/models.json"), help="JSON of all rows; other rows are kept"
    )
    return parser.parse_args(args)


def main(args: Sequence[str] | None = None) -> int:
    """Measure each model in a process of its own, and put the table into the page."""
    options = parse(args)
    if not options.output.is_file():
        print(f"There is no page {options.output} to put the table into.", file=sys.stderr)
        return 1
    kept = json.loads(options.figures.read_text()) if options.figures.is_file() else {"figures": {}}
    figures: dict[str, Any] = kept["figures"]
    torch.set_num_threads(options.threads)
    facts = {name: value for name, value in machine(torch.device("cpu")).items() if name not in _PEERS}
    facts["clock"] = options.clock
    if figures and options.models and kept["machine"] != facts:
        print(f"{options.figures} has figures of another machine; name another file.", file=sys.stderr)
        return 1
    facts = facts if options.models else kept.get("machine", facts)
    options.figures.parent.mkdir(parents=True, exist_ok=True)
    for key in options.models:
        tell(f"{key}: measuring")
        figures[key] = _measured(key, options.frames, options.threads, options.clock)
        tell(f"  {figures[key]['ms']:.0f} ms")
        options.figures.write_text(json.dumps({"machine": facts, "figures": figures}, indent=1) + "\n")
    known = {entry.key: sizes(entry) for entry in CATALOGUE if entry.as_in is None} | figures
    options.output.write_text(put_into(options.output.read_text(encoding="utf-8"), table(known, facts)), "utf-8")
    tell(f"written: {options.figures}, {options.output}")
    return 0


_PEERS = ("sam2", "transformers", "device")  # of the machine's facts, no matter here


def _measured(key: str, frames: int, threads: int, clock: str) -> dict[str, Any]:
    """Run `benchmarks.models.measure`."""
    command = [sys.executable, "-m", "benchmarks.models.measure", key, "--frames", str(frames)]
    command += ["--threads", str(threads), "--clock", clock]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
