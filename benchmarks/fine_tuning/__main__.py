"""Does fine-tuning on 20 clips raise J on held-out ones? ``python -m benchmarks.fine_tuning``.

``sam2.1_hiera_tiny`` at 256 px starts from weights of a short training of our own on other clips
(``config/training/tiny_short.yaml``; published weights are not ours to ship), and is fine-tuned on the clips of
`benchmarks.fine_tuning.workbench`. Every so many steps the run is stopped, the exported checkpoint tracks the held-out
clips, and the run is resumed.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import torch

from benchmarks.fine_tuning.workbench import write_workbench
from benchmarks.quality.folder import judge_videos
from sam_core import build_tracker
from sam_core.training.__main__ import load_task, run_task
from sam_core.training.tracking.davis import Video, find_videos

_log = logging.getLogger(__name__)

_MODEL, _SIZE, _START = "sam2.1_hiera_tiny", 256, "tiny_short"
_STEPS, _EVERY = 480, 120
_SETTINGS = (
    f"model={_MODEL}",
    f"stages.0.size={_SIZE}",
    f"stages.0.steps={_STEPS}",
    "stages.0.clips=1",
    "stages.0.scenes.frames=4",
    "stages.0.warmup=10",
    "lr=2e-4",
    "checkpointing=false",
    "evaluate_minutes=1000",
    "threads=1",
)


def measure(checkpoint: Path, videos: list[Video]) -> dict[str, float]:
    """Return the means over the held-out clips, each object prompted by a box."""
    tracker = build_tracker(_MODEL, checkpoint, "cpu", "float32", overrides=[f"model.image_size={_SIZE}"])
    return judge_videos(tracker, videos, "box")


def fine_tune(output: Path) -> list[dict[str, float]]:
    """Train the start, fine-tune it, and return figures of the held-out clips for each number of steps, from 0 on."""
    data = output / "workbench"
    write_workbench(data)
    start = output / _START / f"{_MODEL}.safetensors"
    run_task(load_task(_START, [f"output={start.parent}"]))
    folders = [f"folder={data}", "split=train", f"validation={data}", "validation_split=val"]
    places = [f"checkpoint={start}", f"output={output / 'run'}"]
    task = load_task("finetune", [*folders, *places, *_SETTINGS])
    videos = find_videos(data, "val")
    records = []
    for steps in range(0, _STEPS + 1, _EVERY):
        path = output / f"figures_{steps}.json"
        if not path.is_file():
            if (missing := steps - _steps_done(output / "run")) > 0:
                run_task(task, steps=missing)
            weights = output / "run" / f"{_MODEL}.safetensors" if steps else start
            path.write_text(json.dumps({"steps": steps, **measure(weights, videos)}))
        records.append(json.loads(path.read_text()))
        _log.info("%d steps: J %.3f, F %.3f", steps, records[-1]["j"], records[-1]["f"])
    return records


def _steps_done(folder: Path) -> int:
    """Return how far the run in a folder has come: one that was killed may have saved between two figures."""
    path = folder / "state.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    return int(_STEPS if state["stage"] else state["step"])


def draw(records: list[dict[str, float]], path: Path) -> None:
    """Draw J and F of the held-out clips over the steps of fine-tuning."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    steps = [r["steps"] for r in records]
    for key, label in (("j", "J"), ("f", "F"), ("static", "J of a mask that stays")):
        axis.plot(steps, [r[key] for r in records], marker="o", label=label, linestyle=":" if key == "static" else "-")
    axis.set_title(f"{_MODEL}, {_SIZE} px: held-out clips, from a box", fontsize=9)
    axis.set_xlabel("steps of fine-tuning")
    axis.set_ylim(0, 1)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    """Run, print a table, and draw the curve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fine_tuning", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("outputs/fine_tuning"), help="a stopped run goes on here")
    parser.add_argument("--picture", type=Path, default=None, help="default: curve.png in the output folder")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    begin = time.monotonic()
    records = fine_tune(options.output)
    draw(records, options.picture or options.output / "curve.png")
    print("| steps | objects | first frame | J | F |\n|---|---|---|---|---|")
    for r in records:
        cells = " | ".join(f"{r[name]:.3f}" for name in ("first", "j", "f"))
        print(f"| {r['steps']:.0f} | {r['objects']:.0f} | {cells} |")
    print(f"\n{(time.monotonic() - begin) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
