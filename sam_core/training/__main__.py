"""Command line: ``python -m sam_core.training [configuration] [overrides ...]``."""

from __future__ import annotations

import argparse
import logging
import math
from dataclasses import replace

import cv2
import torch

from sam_core.configuration import load_config
from sam_core.training.settings import load_settings
from sam_core.training.trainer import train
from sam_core.training.workers import train_in_workers


def train_concepts(configuration: str, overrides: list[str], minutes: float) -> None:
    """Train a concept detector."""
    from sam_core.training.concepts.settings import load_concept_settings
    from sam_core.training.concepts.trainer import train as train_detector

    settings = load_concept_settings(configuration, overrides)
    if settings.device == "auto":
        settings = replace(settings, device="cuda" if torch.cuda.is_available() else "cpu")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cv2.setNumThreads(1)
    train_detector(settings, minutes)


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
    if load_config("training", arguments.configuration).get("task") == "concepts":
        train_concepts(arguments.configuration, arguments.overrides, arguments.minutes)
        return
    settings = load_settings(arguments.configuration, arguments.overrides)
    if settings.device == "auto":
        settings = replace(settings, device="cuda" if torch.cuda.is_available() else "cpu")
    settings.output.mkdir(parents=True, exist_ok=True)
    if settings.workers > 1:
        train_in_workers(settings, arguments.minutes)
    else:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        cv2.setNumThreads(1)
        train(settings, 0, arguments.minutes)


if __name__ == "__main__":
    main()
