"""Command-line options that the quality benchmarks share: how to track."""

from __future__ import annotations

import argparse

from sam_core import Tracker
from sam_core.streaming import CHOICES, POLICIES

__all__ = ["add_tracking_options", "tracking_options"]


def add_tracking_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--memory`` and an option for each entry of `CHOICES`, such as ``--non-overlap``."""
    parser.add_argument("--memory", default=None, choices=sorted(POLICIES), help="default: the model's own policy")
    for name, values in CHOICES.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, default=None, choices=values, help="default: the model's own choice")


def tracking_options(arguments: argparse.Namespace, tracker: Tracker) -> dict[str, str]:
    """Return the memory policy (``memory``) and the choices: those of the command line, or else the model's."""
    options = {"memory": arguments.memory or tracker.memory_policy}
    for name in CHOICES:
        options[name] = getattr(arguments, name) or tracker.choices.get(name, "none")
    return options
