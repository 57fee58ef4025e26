"""A camera, a tracker, the console and browsers, for the figures and the pictures."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sam_ros.runtime.processes import Executable

__all__ = ["Stage", "running"]

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync")  # fmt: skip
PATIENCE = 120.0  # s
# Browsers stand for other computers: they must not take the tracker's time. Linux shares it out by sessions first
# (autogroup, sched(7)), and Chromium has a session of its own, so `nice` alone would change nothing.
BROWSER = """#!/bin/sh
echo $$ > {folder}/browser.pid
echo 19 > /proc/self/autogroup
exec nice -n 19 {chromium} "$@"
"""


class Stage:
    """What runs.

    Args:
        nodes: The processes of tracker, camera and console by these names.
        chromium: Playwright's browser.
        browser_pid: Its first process.
    """

    def __init__(self, nodes: Mapping[str, Executable], chromium: Any, browser_pid: int) -> None:
        self.console = nodes["console"]
        self._sessions = {name: node.pid for name, node in nodes.items()} | {"browsers": os.getsid(browser_pid)}
        self._chromium = chromium

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time in s that tracker, camera, console and browsers have used so far.

        A browser is many processes: those of its session. What has ended is not counted.
        """
        spent = dict.fromkeys(self._sessions, 0.0)
        names = {session: name for name, session in self._sessions.items()}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended meanwhile
                fields = path.read_text().rpartition(")")[2].split()  # proc(5); after the name, which may have spaces
                if (name := names.get(int(fields[3]))) is not None:
                    spent[name] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return spent

    def blank(self) -> Any:
        """Open an empty page in a browser context of its own."""
        return self._chromium.new_context().new_page()

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
    beside = {"autostart": True, "device": "cpu", "cpu_threads": 1}
    parameters = {"tracker": {**beside, **tracker}, "camera": camera, "console": {"port": 0}}
    with TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        nodes = {name: Executable(name, given, log=folder / f"{name}.log") for name, given in parameters.items()}
        for node in nodes.values():
            stack.enter_context(node)
        script = folder / "browser"
        script.write_text(BROWSER.format(folder=folder, chromium=chromium))
        script.chmod(0o700)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=script, args=list(ARGUMENTS))
        stack.callback(browser.close)
        yield Stage(nodes, browser, int((folder / "browser.pid").read_text()))
