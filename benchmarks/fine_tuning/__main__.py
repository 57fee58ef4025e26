"""Does fine-tuning on 20 clips raise J on held-out ones? ``python -m benchmarks.fine_tuning``.

Two starts, fine-tuned on the clips of `benchmarks.fine_tuning.workbench`: ``sam2.1_hiera_tiny`` at 256 px from weights
of a short training of our own on other clips (``config/training/tiny_short.yaml``; published weights are not ours to
ship), and the shipped ``sam2_nano``. Every so many steps the run is stopped, the exported checkpoint tracks the
held-out clips, and the run is resumed.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.fine_tuning.workbench import write_workbench
from benchmarks.quality.folder import judge_videos
from sam_core import build_tracker
from sam_core.training.__main__ import load_task, run_task
from sam_core.training.tracking.davis import Video, find_videos

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """One fine-tuning run.

    Attributes:
        model: its name.
        start: training configuration that gives the weights it starts from; None for the shipped ones.
        size: side of its image, px.
        steps: of fine-tuning.
        every: steps between two measurements.
        overrides: of ``config/training/finetune.yaml``.
    """

    model: str
    start: str | None
    size: int
    steps: int
    every: int
    overrides: tuple[str, ...]


CASES = {
    "tiny": Case("sam2.1_hiera_tiny", "tiny_short", 256, 120, 40, ("lr=2e-4", "stages.0.scenes.frames=4")),
    "nano": Case("sam2_nano", None, 288, 120, 40, ("lr=1e-4", "stages.0.scenes.frames=5")),
}


def measure(case: Case, checkpoint: Path | None, videos: list[Video]) -> dict[str, float]:
    """Return the means over the held-out clips from a box; for ``None`` those of the shipped weights."""
    tracker = build_tracker(case.model, checkpoint, "cpu", "float32", overrides=[f"model.image_size={case.size}"])
    return judge_videos(tracker, videos, "box")


def run_case(case: Case, data: Path, output: Path) -> list[dict[str, float]]:
    """Fine-tune, and return a record of the held-out clips for each number of steps, from 0 on."""
    start: Path | None = None
    if case.start is not None:
        folder = output / case.start
        run_task(load_task(case.start, [f"output={folder}"]))
        start = folder / f"{case.model}.safetensors"
    task = load_task(
        "finetune",
        [
            f"folder={data}",
            "split=train",
            f"validation={data}",
            "validation_split=val",
            f"model={case.model}",
            f"checkpoint={start or 'shipped'}",
            f"output={output / 'run'}",
            f"stages.0.steps={case.steps}",
            f"stages.0.size={case.size}",
            "stages.0.clips=1",
            "stages.0.warmup=10",
            "checkpointing=false",
            "evaluate_minutes=1000",
            "threads=1",
            *case.overrides,
        ],
    )
    videos = find_videos(data, "val")
    records = []
    for steps in range(0, case.steps + 1, case.every):
        path = output / f"figures_{steps}.json"
        if not path.is_file():
            if steps:
                run_task(task, steps=case.every)
            weights = output / "run" / f"{case.model}.safetensors" if steps else start
            path.write_text(json.dumps({"steps": steps, **measure(case, weights, videos)}))
        records.append(json.loads(path.read_text()))
        _log.info("%s, %d steps: J %.3f, F %.3f", case.model, steps, records[-1]["j"], records[-1]["f"])
    return records


def draw(curves: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Draw J and F of the held-out clips over the steps of fine-tuning, a panel for each model."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(curves), 3.2), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    panels: Any = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for panel, (name, records) in zip(panels, curves.items(), strict=True):
        steps = [r["steps"] for r in records]
        for key, label in (("j", "J"), ("f", "F")):
            panel.plot(steps, [r[key] for r in records], marker="o", label=f"{label}, held-out clips")
        panel.set_title(f"{CASES[name].model}, {CASES[name].size} px", fontsize=9)
        panel.set_xlabel("steps of fine-tuning")
        panel.set_ylim(0, 1)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    """Run the cases, print a table, and draw the curve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fine_tuning", description=__doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--output", type=Path, default=Path("outputs/fine_tuning"), help="a stopped run goes on here")
    parser.add_argument("--picture", type=Path, default=None, help="default: curve.png in the output folder")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    data = options.output / "workbench"
    write_workbench(data)
    curves = {}
    for name in options.cases:
        begin = time.monotonic()
        (options.output / name).mkdir(parents=True, exist_ok=True)
        curves[name] = run_case(CASES[name], data, options.output / name)
        _log.info("%s took %.1f minutes", name, (time.monotonic() - begin) / 60)
    draw(curves, options.picture or options.output / "curve.png")
    print("| model | steps | objects | J | F |\n|---|---|---|---|---|")
    for name, records in curves.items():
        for r in records:
            print(f"| {CASES[name].model} | {r['steps']:.0f} | {r['objects']:.0f} | {r['j']:.3f} | {r['f']:.3f} |")


if __name__ == "__main__":
    main()
