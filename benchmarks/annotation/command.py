"""Run `sam-annotate` in a process of its own, and see what it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam_ros.annotation.command_line import STOPPED

__all__ = ["ROOT", "Cost", "start", "track"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: From its start to its end.
        peak: Most resident memory, MiB.
        finished: Whether it came to its end; else it was stopped, and the same command goes on.
    """

    seconds: float
    peak: float
    finished: bool = True


def start(arguments: Sequence[Any], log: Path) -> subprocess.Popen[bytes]:
    """Start `sam-annotate track`; what it says goes into a file."""
    command = [sys.executable, "-m", "sam_ros.annotation", "track", *map(str, arguments), "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment)


def track(arguments: Sequence[Any], log: Path, at_most: float | None = None) -> Cost:
    """Run `sam-annotate track` to its end, or for so many seconds.

    Raises:
        RuntimeError: It failed; the text is what it said.
    """
    began = time.perf_counter()
    process = start(arguments, log)
    alarm = threading.Timer(at_most or threading.TIMEOUT_MAX, process.terminate)
    alarm.daemon = True
    alarm.start()
    _, status, usage = os.wait4(process.pid, 0)
    alarm.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == STOPPED:
        return Cost(time.perf_counter() - began, usage.ru_maxrss / 1024, finished=False)
    if process.returncode:
        raise RuntimeError(f"sam-annotate ended with {process.returncode}: {log.read_text()[-2000:]}")
    return Cost(time.perf_counter() - began, usage.ru_maxrss / 1024)
