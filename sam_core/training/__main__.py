"""Command line: ``python -m sam_core.training [configuration] [overrides ...]``."""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2

from sam_core.training.settings import plain_settings
from sam_core.training.task import Task
from sam_core.training.trainer import train
from sam_core.training.workers import run_in_workers


def load_task(name: str, overrides: Sequence[str] = ()) -> Task[Any, Any]:
    """Compose the settings of a run, and return the task that its configuration names.

    Args:
        name: stem of a file in ``config/training``.
        overrides: Hydra overrides.

    Raises:
        ValueError: no such file, no such task, or an override that does not apply.
    """
    kind = plain_settings(name, overrides).get("task")
    if kind == "tracking":
        from sam_core.training.tracking.settings import load_tracking_settings
        from sam_core.training.tracking.task import TrackingTask

        return TrackingTask(load_tracking_settings(name, overrides))
    if kind == "concepts":
        from sam_core.training.concepts.settings import load_concept_settings
        from sam_core.training.concepts.task import ConceptTask

        return ConceptTask(load_concept_settings(name, overrides))
    raise ValueError(f"training configuration {name!r} has the task {kind!r}; known are tracking and concepts")


def main() -> None:
    """Train, resuming the run in the output folder."""
    parser = argparse.ArgumentParser(
        prog="sam-train",
        description="Train a SAM 2 tracker or a SAM 3 detector on generated data, or fine-tune a tracker or SAM 1 on a "
        "folder in the layout of DAVIS or COCO. A run that was stopped continues from its output folder.",
    )
    parser.add_argument("configuration", nargs="?", default="nano", help="a file of config/training (default: nano)")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, for instance lr=1e-4 folder=/data/my_videos")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop and save after so many minutes")
    parser.add_argument("--steps", type=int, default=math.inf, help="stop and save after so many steps")
    arguments = parser.parse_intermixed_args()
    if "=" in arguments.configuration:
        arguments.overrides.insert(0, arguments.configuration)
        arguments.configuration = "nano"
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        task = load_task(arguments.configuration, arguments.overrides)
    except (ValueError, OSError) as error:
        parser.exit(1, f"{error}\n")
    try:
        run_task(task, arguments.minutes, arguments.steps)
    except (ValueError, OSError) as error:
        parser.exit(1, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"\nStopped. The same command goes on from the last save in {task.settings.output}.\n")


def run_task(task: Task[Any, Any], minutes: float = math.inf, steps: float = math.inf) -> None:
    """Train in this process, or in several workers where the settings say so; limits as for `train`."""
    settings = task.settings
    settings.output.mkdir(parents=True, exist_ok=True)
    if settings.workers > 1:
        run_in_workers(partial(train, task, minutes=minutes, steps=steps), settings.workers, settings.output)
    else:
        cv2.setNumThreads(1)
        train(task, minutes=minutes, steps=steps)


if __name__ == "__main__":
    main()
