"""Command line: ``python -m benchmarks.speed --what frame growth --quick``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.speed.detect import SMALL, detection_times
from benchmarks.speed.floor import floor
from benchmarks.speed.frame import against_objects, frame_times, models_in_turns
from benchmarks.speed.growth import growth
from benchmarks.speed.node import node_overhead
from benchmarks.speed.plots import draw
from benchmarks.speed.report import Section, machine, write
from benchmarks.speed.timing import CLOCKS, Meter, tell
from benchmarks.speed.work import QUICK, SETTLED, Work
from sam_core.devices import resolve_device

WHAT = ("frame", "models", "objects", "growth", "detect", "node", "floor")


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description="Ours beside its peers, in one run."
    )
    parser.add_argument("--what", nargs="+", default=list(WHAT), choices=WHAT, help="sections, default: all")
    parser.add_argument("--quick", action="store_true", help="small models, few rounds: to see that everything runs")
    parser.add_argument("--device", default=None, help="default: CUDA if there is any, else the CPU")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU, for all contenders")
    parser.add_argument(
        "--clock", default="wall", choices=sorted(CLOCKS), help="processor: on a shared CPU, with one thread"
    )
    parser.add_argument("--models", nargs="+", default=None, metavar="NAME[:PX]", help="models, and image sizes in px")
    parser.add_argument("--objects", nargs="+", type=int, default=None, help="numbers of objects")
    parser.add_argument("--contenders", nargs="+", default=None, help="ours first")
    parser.add_argument("--rounds", type=int, default=None, help="turns of each contender")
    parser.add_argument(
        "--settled", type=int, default=None, help="frames before the measurement; from 8 on all seven memories are full"
    )
    parser.add_argument("--frames", type=int, default=None, help="length of the growth run")
    parser.add_argument("--gigabytes", type=float, default=8.0, help="a contender that grows beyond is stopped")
    parser.add_argument("--minutes", type=float, default=60.0, help="a growth run that takes longer is stopped")
    parser.add_argument("--seconds", type=float, default=None, help="of the node's measurement, for each camera")
    parser.add_argument("--output", type=Path, default=Path("outputs/speed"), help="folder for table, JSON and plots")
    return parser.parse_args(args)


def run(options: argparse.Namespace) -> list[Section]:
    """Measure the chosen sections."""
    torch.set_num_threads(options.threads)
    device, quick = resolve_device(options.device), options.quick
    meter, cuda = Meter(device, CLOCKS[options.clock]), device.type == "cuda"
    if options.models:
        works = [_work(text) for text in options.models]
    else:
        works = [QUICK] if quick else [_work(text) for text in (_CUDA_MODELS if cuda else _CPU_MODELS)]
    counts = options.objects or ([1, 2] if quick else [1, 4, 16] if cuda else [1, 4, 8, 16])
    kinds = options.contenders or (_CUDA_KINDS if cuda else _CPU_KINDS)
    rounds = options.rounds or (2 if quick else 7)
    settled = options.settled or (4 if quick else SETTLED)
    small = QUICK if quick else Work("sam2_nano")
    detector = ("sam3", ()) if cuda and not quick else ("sam3_toy", () if quick else SMALL)
    sections: dict[str, Callable[[], list[Section]]] = {
        "frame": lambda: [frame_times(works, counts, kinds, meter, rounds=rounds, settled=settled)],
        "models": lambda: [models_in_turns(works, meter, rounds=rounds, settled=settled)],
        "objects": lambda: [
            against_objects(
                small,
                [1, 2] if quick else [1, 2, 4, 8, 16, 32, 64],
                kinds,
                meter,
                rounds=min(rounds, 3),
                settled=settled,
            )
        ],
        "growth": lambda: [
            growth(
                [kind for kind in kinds if kind not in ("ours-bf16", "sam2-vos")],
                small,
                device,
                frames=options.frames or (250 if quick else 20_000),
                gigabytes=options.gigabytes,
                minutes=options.minutes,
                clock=options.clock,
            )
        ],
        "detect": lambda: [detection_times(*detector, [1, 4], meter, rounds=rounds)],
        "node": lambda: [node_overhead(small.model, str(device), seconds=options.seconds or (5.0 if quick else 20.0))],
        "floor": lambda: [
            floor(works, counts[:1] + counts[-1:], kind, meter, rounds=rounds, settled=settled)
            for kind in kinds
            if "ours" in kind
        ],
    }
    found = []
    for name in options.what:
        tell(f"== {name}")
        found += sections[name]()
    return found


_CUDA_MODELS = ["sam2.1_hiera_tiny", "sam2.1_hiera_base_plus"]
_CPU_MODELS = ["sam2_nano", "sam2.1_hiera_tiny:512"]
_CPU_KINDS = ["ours", "ours-bf16", "sam2", "transformers"]
_CUDA_KINDS = ["ours", "sam2", "sam2-vos", "transformers"]


def _work(text: str) -> Work:
    """Read ``name`` or ``name:px``."""
    name, _, size = text.partition(":")
    return Work.at(name, int(size) if size else None)


def main(args: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write table, JSON and plots."""
    options = parse(args)
    sections = run(options)
    facts = {**machine(resolve_device(options.device)), "clock": options.clock}
    text = write(sections, facts, options.output)
    draw(sections, options.output)
    print(text)
    tell(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
