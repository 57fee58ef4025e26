"""Take the pictures of the documentation: the console on a desk, dark, and on a phone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.console.stage import running
from sam_ros.demo.animation import Animation

__all__ = ["take"]

LARGEST = 200_000  # bytes of a picture
SPEED = 2.0  # of the recording
SCENE = {"source": "twins", "rate": 2.0}
THINGS = ((0.26, 0.5, "blue ball"), (0.83, 0.52, "star"))  # where in the picture, and what it is called
DESK = {"width": 1360, "height": 800}
PHONE = {"width": 390, "height": 844}


def take(folder: Path) -> list[Path]:
    """Track some things by clicks and by words, and write what the page shows.

    Args:
        folder: Where the pictures go.

    Returns:
        The files.
    """
    with running({"detector": "sam3_nano"}, SCENE) as stage:
        page = stage.open(viewport=DESK)
        film = Film(page, folder / "console_recording.webp")
        for x, y, label in THINGS:
            _track(film, x, y, label)
        files = _compose(film, folder)
        page.context.close()
        dark = stage.open(viewport=DESK, color_scheme="dark")
        dark.get_by_role("tab", name="Health").click()
        dark.wait_for_timeout(6000)
        files.append(_save(dark, folder / "console_dark.webp"))
        dark.context.close()
        phone = stage.open(viewport=PHONE, has_touch=True, device_scale_factor=2)
        phone.wait_for_timeout(4000)
        files.append(_save(phone, folder / "console_phone.webp"))
    return files


class Film:
    """Record a page while waiting.

    Args:
        page: Playwright's page.
        path: Animated picture to write.
    """

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self._animation = Animation(path, SPEED)

    def wait(self, seconds: float) -> None:
        """Record for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._animation.add(_shot(self.page), time.monotonic_ns())
            self.page.wait_for_timeout(250)

    def close(self) -> list[Path]:
        """Write the file, and return it."""
        return self._animation.close()


def _track(film: Film, x: float, y: float, label: str) -> None:
    page = film.page
    film.wait(1.5)
    box = page.locator(".sam-marks").bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    film.wait(2.5)
    page.get_by_label("Label of the new object").fill(label)
    film.wait(1.0)
    page.get_by_role("button", name="Track", exact=True).click()
    page.get_by_role("button", name="Freeze").wait_for()
    film.wait(4.0)


def _compose(film: Film, folder: Path) -> list[Path]:
    """Take the objects, then what words find, in a frozen picture."""
    page = film.page
    page.wait_for_timeout(8000)
    files = [_save(page, folder / "console.webp")]
    page.get_by_role("tab", name="Words").click()
    page.get_by_label("What to look for").fill("red circle")
    page.get_by_role("button", name="Freeze").click()
    page.get_by_role("button", name="Find").click()
    page.get_by_text("red circle · 0.").first.wait_for()
    film.wait(2.0)
    files.append(_save(page, folder / "console_words.webp"))
    page.get_by_role("button", name="Track chosen").click()
    page.get_by_role("tab", name="Objects").click()
    film.wait(6.0)
    return files + film.close()


def _shot(page: Any) -> Any:
    """Return what a page shows, uint8 BGR (H, W, 3)."""
    return cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)


def _save(page: Any, path: Path) -> Path:
    """Write what a page shows as WebP, as good as fits into `LARGEST` bytes."""
    shot = _shot(page)
    for quality in range(92, 20, -4):
        _, data = cv2.imencode(".webp", shot, [cv2.IMWRITE_WEBP_QUALITY, quality])
        if data.nbytes <= LARGEST:
            break
    path.write_bytes(data.tobytes())
    return path
