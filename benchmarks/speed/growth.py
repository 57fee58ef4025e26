"""Time and memory of a frame however long the stream runs, each contender in a process of its own.

    python -m benchmarks.speed.growth --contender ours --frames 20000

At each mark a fresh stream of 200 frames is opened beside the old one, and both are timed in turns, so that other load
on the machine affects both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.reference.peers import MissingPeerError
from benchmarks.speed.contender import CONTENDERS, Contender, make_contender
from benchmarks.speed.memory import held, resident_bytes
from benchmarks.speed.report import Section
from benchmarks.speed.timing import CLOCKS, Meter, interleave, settle, tell
from benchmarks.speed.work import Work, boxes, frames
from sam_core.devices import resolve_device

__all__ = ["growth"]

FRESH = 200  # frames: the age that older streams are compared with
WINDOW = 40  # frames whose median time is reported
CHECK_EVERY = 50  # frames between two looks at memory and clock
SIZE = (640, 480)  # px of the camera


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.growth", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--contender", default="ours", choices=CONTENDERS)
    parser.add_argument("--model", default="sam2_nano")
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", default="wall", choices=sorted(CLOCKS))
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--gigabytes", type=float, default=8.0, help="stop when the process holds more")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long")
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args(args)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Feed one contender; return what was measured at frame 200, 2,000, … and at the end."""
    torch.set_num_threads(options.threads)
    device, work = resolve_device(options.device), Work(options.model, tuple(options.overrides))
    meter = Meter(device, CLOCKS[options.clock])
    images, where = frames(*SIZE), boxes(options.objects, *SIZE)
    contender = make_contender(options.contender, work, device)
    contender.begin(images[0], where)
    wanted = sorted({mark for mark in (FRESH, 2_000, 20_000) if mark < options.frames} | {options.frames})
    started, times, rows, stopped = time.perf_counter(), list[float](), list[dict[str, Any]](), ""
    number = 0

    def look(frame: int) -> dict[str, Any]:
        row = {"frame": frame, "ms": 1000 * median(times), **asdict(held(device))}
        if frame > FRESH:
            row["over fresh"] = _over_fresh(contender, options.contender, work, meter, images, where)
        return row

    while number < wanted[-1] and not stopped:
        number += 1
        begin = meter.read()
        contender.step(images[number % len(images)])
        times = [*times[1 - WINDOW :], meter.read() - begin]
        if number in wanted:
            rows.append(look(number))
            tell(f"{contender.name}: frame {number}, {rows[-1]['ms']:.1f} ms, {rows[-1]['resident'] / 1e6:.0f} MB")
        if number % CHECK_EVERY == 0:
            memory = max(resident_bytes(), torch.cuda.memory_allocated(device) if device.type == "cuda" else 0)
            if memory > 1e9 * options.gigabytes:
                stopped = f"stopped at frame {number}: it held more than {options.gigabytes:g} GB"
            elif time.perf_counter() - started > 60 * options.minutes:
                stopped = f"stopped at frame {number}: {options.minutes:g} minutes were over"
    if stopped:
        rows.append(look(number))
    return {"contender": contender.name, "rows": rows, "stopped": stopped}


def _over_fresh(old: Contender, kind: str, work: Work, meter: Meter, images: list[Any], where: Any) -> float:
    """Time the old stream and a fresh one in turns; returns the ratio."""
    fresh = make_contender(kind, work, meter.device)
    fresh.name = "fresh"
    settle(fresh, images, where, FRESH)
    return interleave([old, fresh], images, meter=meter, rounds=20, seconds=0.3).ratio(old.name, fresh.name)


def growth(
    kinds: Sequence[str],
    work: Work,
    device: torch.device,
    *,
    frames: int,
    gigabytes: float,
    minutes: float,
    clock: str = "wall",
) -> Section:
    """Measure every contender in a process of its own."""
    section = Section(
        "growth",
        f"Growth over a stream, {work.model}, one object",
        {"contender": "contender", "frame": "frame", "tensors MB": "live tensors, MB"}
        | {"resident MB": "resident, MB"}
        | ({"device MB": "device, MB"} if device.type == "cuda" else {})
        | {"added bytes": "live tensors since frame 200, bytes", "over fresh": "time over that at frame 200"},
    )
    for kind in kinds:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "growth.json"
            command = [sys.executable, "-m", "benchmarks.speed.growth", "--contender", kind, "--model", work.model]
            command += ["--device", str(device), "--threads", str(torch.get_num_threads()), "--frames", str(frames)]
            command += ["--gigabytes", str(gigabytes), "--minutes", str(minutes), "--json", str(path)]
            command += ["--clock", clock]
            command += ["--overrides", *work.overrides]
            if subprocess.run(command, check=False).returncode or not path.is_file():
                section.notes.append(f"{kind} takes no part, see its messages.")
                continue
            _add(section, json.loads(path.read_text()))
    return section


def _add(section: Section, found: dict[str, Any]) -> None:
    """Add one contender's rows."""
    rows = found["rows"]
    for row in rows:
        section.rows.append(
            {
                "contender": found["contender"],
                **row,
                "tensors MB": row["tensors"] / 1e6,
                "resident MB": row["resident"] / 1e6,
                "device MB": row["device"] / 1e6,
                "added bytes": row["tensors"] - rows[0]["tensors"],
            }
        )
    if found["stopped"]:
        section.notes.append(f"{found['contender']}: {found['stopped']}.")


def main(args: Sequence[str] | None = None) -> int:
    """Measure one contender."""
    options = parse(args)
    try:
        found = run(options)
    except MissingPeerError as error:
        tell(f"{options.contender}: {error}")
        return 1
    text = json.dumps(found, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
