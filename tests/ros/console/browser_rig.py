"""A page of the console in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sam_ros.runtime.processes import Executable

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
UNDER_TEST = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION")  # NiceGUI does not compress where it finds one of these
PATIENCE = 90_000  # ms: a loaded machine


@contextmanager
def browser() -> Iterator[Any]:
    """Start a browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield chromium
        chromium.close()


def address_of(console: Executable, timeout: float = 90.0) -> str:
    """Return the address that a console's process has printed, once it answers."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found = re.search(r"console at (http://\S+)", console.output())
        if found:
            return found[1]
        assert console.running, console.output()
        time.sleep(0.1)
    raise TimeoutError(console.output())


class Page:
    """The page, as an operator sees it.

    Args:
        page: Playwright's page.
        address: Of the console.
    """

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        end = time.monotonic() + PATIENCE / 1000
        while True:
            try:
                page.goto(address)
                return
            except Exception:  # the address is printed a moment before it answers
                if time.monotonic() > end:
                    raise
                time.sleep(0.3)

    @property
    def statistics(self) -> dict[str, Any]:
        """What the picture says of itself: number and stamp of the frame that is shown, pictures so far."""
        found: dict[str, Any] = self.page.evaluate("document.querySelector('.sam-picture').samStatistics")
        return found

    def wait_for_picture(self, after: int = 0) -> None:
        """Wait for a frame after the given one."""
        self.page.wait_for_function(f"(document.querySelector('.sam-picture')?.samStatistics?.number ?? 0) > {after}")

    def freeze(self) -> int:
        """Hold the frame that is shown, and return its stamp in ns."""
        self.page.get_by_role("button", name="Freeze").click()
        self.page.get_by_role("button", name="Go on").wait_for()
        return int(self.statistics["stamp"])

    def click(self, x: float, y: float, size: tuple[int, int], button: str = "left") -> None:
        """Click in the picture, in px of an image of `size` (width, height)."""
        self.page.mouse.click(*self._on_screen(x, y, size), button=button)

    def drag(self, points: Sequence[tuple[float, float]], size: tuple[int, int], button: str = "left") -> None:
        """Press at the first point, move over the others, and let go; px of an image of `size` (width, height)."""
        mouse = self.page.mouse
        mouse.move(*self._on_screen(*points[0], size))
        mouse.down(button=button)
        for point in points[1:]:
            mouse.move(*self._on_screen(*point, size), steps=3)
        mouse.up(button=button)

    def _on_screen(self, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
        box = self.page.locator(".sam-marks").bounding_box()
        return box["x"] + x / size[0] * box["width"], box["y"] + y / size[1] * box["height"]

    def press(self, name: str) -> None:
        """Press a button of exactly this name, once it can be pressed."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def says(self, text: str) -> None:
        """Wait until the page shows a text; if it does not, say what it shows."""
        try:
            self.page.get_by_text(text).first.wait_for()
        except Exception as error:
            shown = self.page.locator("body").inner_text()
            raise AssertionError(f"'{text}' is not among\n{shown}\nerrors: {self.errors}") from error

    def shows(self, label: str, value: str) -> None:
        """Wait until a field has a value; if it does not get it, say what the page shows."""
        field = self.page.get_by_label(label, exact=True)
        end = time.monotonic() + PATIENCE / 1000
        while not field.count() or field.input_value() != value:
            assert time.monotonic() < end, self.page.locator("body").inner_text()
            self.page.wait_for_timeout(200)

    def choose(self, tracker: str) -> None:
        """Look at a tracker."""
        self.page.get_by_role("combobox", name="Tracker").click()
        self.page.get_by_role("option", name=tracker).click()

    def tab(self, name: str) -> None:
        """Open one of the tabs on the right."""
        self.page.get_by_role("tab", name=name).click()
