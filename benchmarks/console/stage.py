"""A camera, a tracker, the console and browsers, for the figures and the pictures."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sam_ros.runtime.processes import Executable

__all__ = ["Stage", "running"]

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync")  # fmt: skip
PATIENCE = 120.0  # s


class Stage:
    """What runs.

    Args:
        tracker: The tracker's process.
        console: The console's process.
        chromium: Playwright's browser.
    """

    def __init__(self, tracker: Executable, console: Executable, chromium: Any) -> None:
        self.tracker = tracker
        self.console = console
        self._chromium = chromium

    def address(self) -> str:
        """Return the console's address.

        Raises:
            TimeoutError: It has printed none.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := re.search(r"console at (http://\S+)", self.console.output()):
                return found[1]
            time.sleep(0.2)
        raise TimeoutError(self.console.output())

    def open(self, **context: Any) -> Any:
        """Open the page in a browser context of its own, and wait for its first tracked picture."""
        page = self._chromium.new_context(**context).new_page()
        page.set_default_timeout(PATIENCE * 1000)
        address = self.address()
        for _ in range(int(PATIENCE)):
            try:
                page.goto(address)
                break
            except Exception:  # the address is printed a moment before it answers
                time.sleep(1.0)
        page.wait_for_function("(document.querySelector('.sam-picture')?.samStatistics?.number ?? 0) > 0")
        page.get_by_text("active ·").first.wait_for()
        return page


@contextmanager
def running(tracker: Mapping[str, Any], camera: Mapping[str, Any]) -> Iterator[Stage]:
    """Run the processes with these parameters, and a browser without a window."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with TemporaryDirectory() as folder, ExitStack() as stack:
        logs = Path(folder)
        beside = {"autostart": True, "device": "cpu", "cpu_threads": 1, "history_frames": 200}
        nodes = [
            Executable("tracker", {**beside, **tracker}, log=logs / "tracker.log"),
            Executable("camera", camera, log=logs / "camera.log"),
            Executable("console", {"port": 0}, log=logs / "console.log"),
        ]
        for node in nodes:
            stack.enter_context(node)
        os.nice(19)  # browsers stand for other computers: they must not take the tracker's time
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        stack.callback(browser.close)
        yield Stage(nodes[0], nodes[2], browser)
