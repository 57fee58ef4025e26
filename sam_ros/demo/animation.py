"""Keep what the demo saw as an animated picture for a web page."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["SUFFIXES", "Animation"]

SUFFIXES = (".gif", ".png", ".webp")
WIDTH = 480  # px
RATE = 15.0  # most pictures per second of playback
LONGEST = 20.0  # s of playback; the pictures wait in memory until the end
QUALITY = 60  # of WebP, 0 to 100
LOSSY = [cv2.IMWRITE_WEBP_QUALITY, QUALITY]


class Animation:
    """Collect pictures and write them as one animated picture that repeats for ever.

    Args:
        path: File to write, with one of `SUFFIXES`.
        speed: Playback speed relative to the stamps; 9 shows what came at 3 Hz at 27 Hz.
    """

    def __init__(self, path: Path, speed: float = 1.0) -> None:
        self.path = path
        self._speed = speed
        self._images: list[NDArray[np.uint8]] = []
        self._times: list[float] = []  # s of playback, of each image
        self._start: int | None = None
        self._last = 0.0  # s of playback, of the newest image, kept or not

    def add(self, image: NDArray[np.uint8], stamp: int) -> None:
        """Append a picture; those beyond `RATE` or `LONGEST` are left out.

        Args:
            image: uint8 BGR (H, W, 3), always of one size.
            stamp: ns.
        """
        if self._start is None:
            self._start = stamp
        time = (stamp - self._start) * 1e-9 / self._speed
        if time > LONGEST:
            return
        self._last = time
        if self._times and time - self._times[-1] < 0.9 / RATE:  # stamps jitter
            return
        height, width = image.shape[:2]
        size = (WIDTH, round(WIDTH * height / width))
        self._images.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))  # type: ignore[arg-type]
        self._times.append(time)

    def close(self) -> list[Path]:
        """Write the file, and return it if there was a picture."""
        if not self._images:
            return []
        animation = cv2.Animation()
        animation.frames = self._images
        ends = [*self._times[1:], max(self._last, self._times[-1] + 1.0 / RATE)]
        animation.durations = [round(1e3 * (end - begin)) for begin, end in zip(self._times, ends, strict=True)]
        cv2.imwriteanimation(str(self.path), animation, LOSSY if self.path.suffix == ".webp" else [])
        return [self.path]
