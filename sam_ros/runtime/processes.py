"""Run our executables as child processes: for the demo, the tests and the benchmarks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Executable"]

EXECUTABLES = {  # modules
    "tracker": "sam_ros.node.tracker_node",
    "camera": "sam_ros.camera.camera_node",
    "localizer": "sam_ros.localization.localizer_node",
    "first_prompt": "sam_ros.demo.first_prompt",
    "console": "sam_ros.console.console",
    "rerun": "sam_ros.rerun_log.rerun_node",
}


class Executable:
    """One of our executables as a child process; leaving the context ends it, whatever happened.

    Args:
        name: One of `EXECUTABLES`, e.g. "tracker".
        parameters: ROS parameters of the node.
        remappings: Names by names, e.g. {"image": "/camera/image"}.
        without: Environment variables that the process does not get.
        log: File for the output; None for this process's own output.
    """

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        remappings: Mapping[str, str] | None = None,
        without: Sequence[str] = (),
        log: Path | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", EXECUTABLES[name], "--ros-args"]
        self._command += _arguments("-p", {key: _yaml(value) for key, value in (parameters or {}).items()})
        self._command += _arguments("-r", remappings or {})
        self._without = without
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process."""
        output = None if self.log is None else self.log.open("wb")
        # A session of its own: Ctrl-C reaches the parent alone, which then ends its children in order.
        self._process = subprocess.Popen(
            self._command,
            env={name: value for name, value in os.environ.items() if name not in self._without},
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )
        if output is not None:
            output.close()

    def send(self, how: signal.Signals) -> None:
        """Send a signal and do not wait for what comes of it.

        Raises:
            RuntimeError: The process was never started.
        """
        if self._process is None:
            raise RuntimeError("the process was never started")
        self._process.send_signal(how)

    def stop(self, how: signal.Signals = signal.SIGINT, timeout: float = 60.0) -> int:
        """Ask the process to end and return its exit code; it is killed if it has not ended after `timeout` s."""
        process = self._process
        if process is None:
            raise RuntimeError("the process was never started")
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
        return process.wait()

    def wait(self, timeout: float = 60.0) -> int:
        """Wait until the process ends by itself and return its exit code.

        Raises:
            subprocess.TimeoutExpired: It has not ended after `timeout` s.
        """
        if self._process is None:
            raise RuntimeError("the process was never started")
        return self._process.wait(timeout)

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            RuntimeError: The process was never started.
        """
        if self._process is None:
            raise RuntimeError("the process was never started")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while the process runs."""
        return None if self._process is None else self._process.poll()

    def output(self) -> str:
        """Return what the process wrote to its log so far."""
        return "" if self.log is None else self.log.read_text(errors="replace")

    def __enter__(self) -> Executable:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _arguments(flag: str, pairs: Mapping[str, str]) -> list[str]:
    return [word for name, value in pairs.items() for word in (flag, f"{name}:={value}")]


def _yaml(value: Any) -> str:
    """Write a parameter's value as rcl reads it: YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, (str, Path)):
        quoted = str(value).replace("'", "''")
        return f"'{quoted}'"
    return str(value)
