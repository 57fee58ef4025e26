"""Run `sam-annotate` in a process of its own, and see what it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "Cost", "start", "track"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: From its start to its end.
        peak: Most resident memory, MiB.
    """

    seconds: float
    peak: float


def start(arguments: Sequence[Any], log: Path) -> subprocess.Popen[bytes]:
    """Start `sam-annotate track`; what it says goes into a file."""
    command = [sys.executable, "-m", "sam_ros.annotation", "track", *map(str, arguments), "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment)


def track(arguments: Sequence[Any], log: Path) -> Cost:
    """Run `sam-annotate track` to its end.

    Raises:
        RuntimeError: It failed; the text is what it said.
    """
    began = time.perf_counter()
    process = start(arguments, log)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"sam-annotate ended with {process.returncode}: {log.read_text()[-2000:]}")
    return Cost(time.perf_counter() - began, usage.ru_maxrss / 1024)
