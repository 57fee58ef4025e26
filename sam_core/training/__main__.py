"""Command line: ``python -m sam_core.training [configuration] [overrides ...]``."""

from __future__ import annotations

import argparse
import logging
import math
import os
from dataclasses import replace
from pathlib import Path

import cv2
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sam_core.training.settings import Settings, load_settings
from sam_core.training.trainer import train


def _worker(rank: int, settings: Settings, minutes: float, store: str) -> None:
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=settings.workers)
    train(settings, rank, minutes)
    dist.destroy_process_group()


def main() -> None:
    """Train, resuming what the output folder holds."""
    parser = argparse.ArgumentParser(
        prog="python -m sam_core.training",
        description="Train a SAM 2 model on generated clips, or fine-tune one on a folder in the layout of DAVIS. "
        "A run that was stopped goes on from its output folder.",
    )
    parser.add_argument("configuration", nargs="?", default="nano", help="a file of config/training (default: nano)")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, for instance lr=1e-4 folder=/data/my_videos")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop and save after so many minutes")
    arguments = parser.parse_args()
    if "=" in arguments.configuration:
        arguments.overrides.insert(0, arguments.configuration)
        arguments.configuration = "nano"
    settings = load_settings(arguments.configuration, arguments.overrides)
    if settings.device == "auto":
        settings = replace(settings, device="cuda" if torch.cuda.is_available() else "cpu")
    settings.output.mkdir(parents=True, exist_ok=True)
    if settings.workers > 1:
        store = (settings.output / f"rendezvous_{os.getpid()}").resolve()
        mp.spawn(_worker, (settings, arguments.minutes, str(store)), nprocs=settings.workers)
        Path(store).unlink(missing_ok=True)
    else:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        cv2.setNumThreads(1)
        train(settings, 0, arguments.minutes)


if __name__ == "__main__":
    main()
