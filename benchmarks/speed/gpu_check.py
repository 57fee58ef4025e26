"""Correctness and speed on a GPU, in one script and under nine minutes.

    python -m benchmarks.speed.gpu_check --output outputs/gpu
    python -m benchmarks.speed.gpu_check --device cpu --quick       # shows that it runs; the figures mean nothing

Table and JSON are written after each stage, so that nothing is lost when the time is over. The compiled peer
comes last, in a process of its own: compiling it takes as long as all the rest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.checks import Finding, check_all
from benchmarks.speed.detect import detection_times
from benchmarks.speed.floor import floor
from benchmarks.speed.frame import against_objects, frame_times
from benchmarks.speed.growth import growth
from benchmarks.speed.report import Section, machine, write
from benchmarks.speed.timing import Meter, tell
from benchmarks.speed.work import QUICK, SETTLED, Work
from sam_core.devices import resolve_device

__all__ = ["main"]

LEAST = 5.0  # s: with less time left, a stage is not begun


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.gpu_check")
    parser.add_argument("--device", default=None, help="default: CUDA if there is any, else the CPU")
    parser.add_argument("--quick", action="store_true", help="small models, few rounds")
    parser.add_argument("--minutes", type=float, default=8.5, help="all of it must be over by then")
    parser.add_argument("--threads", type=int, default=None, help="of the CPU")
    parser.add_argument("--output", type=Path, default=Path("outputs/gpu"), help="folder for table and JSON")
    return parser.parse_args(args)


def stages(device: torch.device, quick: bool, output: Path) -> dict[str, Callable[[float], list[Section]]]:
    """Return the steps, the most important first; each is called with the seconds that are left."""
    tiny, base = (QUICK, QUICK) if quick else (Work("sam2.1_hiera_tiny"), Work("sam2.1_hiera_base_plus"))
    small = QUICK if quick else Work("sam2_nano")
    counts, rounds, frames = ([1, 2], 2, 220) if quick else ([1, 4, 16], 7, 2_000)
    settled, meter = 4 if quick else SETTLED, Meter(device)
    peers = ["ours", "sam2", "transformers"]
    return {
        "checks": lambda left: [checks_section(device, quick)],
        "transfer": lambda left: [transfer(meter)],
        "tiny": lambda left: [frame_times([tiny], counts, peers, meter, rounds=rounds, settled=settled)],
        "floor": lambda left: [floor([tiny], [counts[0], counts[-1]], "ours", meter, rounds=rounds, settled=settled)],
        "growth": lambda left: [
            growth(["ours"], small, device, frames=frames, gigabytes=8.0, minutes=min(1.5, left / 60))
        ],
        "base_plus": lambda left: [frame_times([base], counts, peers, meter, rounds=rounds, settled=settled)],
        "objects": lambda left: [
            against_objects(tiny, [1, 2] if quick else [1, 2, 4, 8, 16, 32, 64], ["ours"], meter, rounds=3)
        ],
        "detect": lambda left: [detection_times("sam3_toy" if quick else "sam3", (), [1, 4], meter, rounds=rounds)],
        "compiled": lambda left: [compiled_peer(device, quick, left, output)],
    }


def checks_section(device: torch.device, quick: bool) -> Section:
    """Run the checks and tabulate them."""
    section = Section(
        "checks", "Checks", {"check": "check", "good": "", "what": "what", "value": "found", "limit": "limit"}
    )
    for name, found in check_all(device, quick=quick).items():
        if isinstance(found, Finding):
            row = {"what": found.what, "value": f"{found.value:.3g}", "limit": f"{found.limit:g}"}
            section.rows.append({"check": name, "good": "ok" if found.good else "FAIL", **row})
        else:
            section.rows.append({"check": name, "good": "FAIL", "what": found})
    return section


def transfer(meter: Meter) -> Section:
    """Time the upload of an image and the download of masks, alone."""
    device = meter.device
    section = Section("transfer", "Transfer", {"what": "what", "mb": "MB", "ms": "ms", "rate": "GB/s"})
    for width, height in ((640, 480), (1920, 1080)):
        image = torch.from_numpy(np.zeros((height, width, 3), np.uint8))
        pinned = image.pin_memory() if device.type == "cuda" else image
        masks = torch.zeros(16, height, width, dtype=torch.bool, device=device)
        ways: dict[str, tuple[Tensor, str, bool]] = {
            f"image {width} × {height} up": (image, device.type, False),
            "the same, pinned": (pinned, device.type, True),
            f"16 masks {width} × {height} down": (masks, "cpu", False),
        }
        for what, (tensor, target, at_once) in ways.items():
            seconds = _median_time(partial(tensor.to, target, copy=True, non_blocking=at_once), meter)
            row = {"what": what, "mb": tensor.nbytes / 1e6, "ms": 1e3 * seconds, "rate": tensor.nbytes / seconds / 1e9}
            section.rows.append(row)
    return section


def compiled_peer(device: torch.device, quick: bool, left: float, output: Path) -> Section:
    """Compare with `sam2`'s compiled predictor in a process that can be ended when the time is over."""
    section = Section("compiled", "Beside the compiled peer", {})
    command = [sys.executable, "-m", "benchmarks.speed", "--what", "frame", "--device", str(device), "--contenders"]
    command += ["ours", "sam2-vos", "--objects", *(["1"] if quick else ["1", "16"]), "--rounds", "5"]
    command += ["--quick"] if quick else ["--models", "sam2.1_hiera_tiny"]
    folder = output / "compiled"
    try:
        command += ["--output", str(folder)]
        subprocess.run(command, check=True, timeout=max(left, 1.0), stdout=subprocess.DEVNULL)
    except (subprocess.SubprocessError, OSError) as error:
        section.notes.append(f"Not measured: {error}.")
        return section
    found = json.loads((folder / "speed.json").read_text())["sections"]["frame"]
    section.columns = {"objects": "objects", "contender": "contender", "ms": "ms", "over sam2-vos": "over sam2 VOS"}
    section.rows, section.notes = found["rows"], found["notes"]
    return section


def _median_time(work: Callable[[], object], meter: Meter, turns: int = 15) -> float:
    times = []
    for _ in range(turns):
        begin = meter.read()
        work()
        times.append(meter.read() - begin)
    return float(np.median(times[2:]))


def main(args: Sequence[str] | None = None) -> int:
    """Check and measure; returns 1 where a check failed."""
    options = parse(args)
    device, started = resolve_device(options.device), time.monotonic()
    if options.threads:
        torch.set_num_threads(options.threads)
    facts: dict[str, Any] = machine(device)
    found: list[Section] = []
    text = ""
    for name, stage in stages(device, options.quick, options.output).items():
        left = 60 * options.minutes - (time.monotonic() - started)
        tell(f"== {name}, {left:.0f} s left")
        sections = [Section(name, name, {}, notes=["Not measured: the time was over."])]
        if left > LEAST:
            try:
                sections = stage(left)
            except Exception as error:
                sections[0].notes = [f"Not measured: {type(error).__name__}: {error}"]
        for section in sections:
            section.name = name
        found += sections
        facts["minutes"] = round((time.monotonic() - started) / 60, 2)
        text = write(found, facts, options.output)
    print(text)
    return int(any(row.get("good") == "FAIL" for section in found for row in section.rows))


if __name__ == "__main__":
    sys.exit(main())
