"""Keep what the demo saw as an animated WebP, for a web page."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Animation"]

WIDTH = 640  # px, at most
RATE = 15.0  # most pictures per second of playback
LONGEST = 20.0  # s of playback
QUALITY = 75  # 0 to 100


class Animation:
    """Collect pictures and write them as an animated WebP that repeats for ever.

    Each picture is encoded for itself. OpenCV's own writer of animations encodes differences, and leaves traces of what
    moved.

    Args:
        path: File to write.
        speed: Playback speed relative to the stamps; with 9, pictures that came at 3 Hz are played at 27 Hz.
    """

    def __init__(self, path: Path, speed: float = 1.0) -> None:
        self._path = path
        self._speed = speed
        self._size = (0, 0)  # (width, height) px
        self._pictures: list[bytes] = []  # each one a WebP file
        self._times: list[float] = []  # s of playback, of each picture
        self._start: int | None = None

    def add(self, image: NDArray[np.uint8], stamp: int) -> None:
        """Append a picture; those beyond `RATE` or `LONGEST` are left out.

        Args:
            image: uint8 BGR (H, W, 3), always of one size.
            stamp: ns.
        """
        if self._start is None:
            self._start = stamp
        time = (stamp - self._start) * 1e-9 / self._speed
        if time > LONGEST or (self._times and time - self._times[-1] < 0.9 / RATE):  # stamps jitter
            return
        height, width = image.shape[:2]
        scale = min(1.0, WIDTH / width)
        self._size = (round(scale * width), round(scale * height))
        small = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        self._pictures.append(cv2.imencode(".webp", small, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes())
        self._times.append(time)

    def close(self) -> list[Path]:
        """Write the file, and return it if there was a picture."""
        if not self._pictures:
            return []
        starts = [round(1e3 * time) for time in self._times]  # ms
        ends = [*starts[1:], starts[-1] + round(1e3 / RATE)]
        durations = [end - start for start, end in zip(starts, ends, strict=True)]
        self._path.write_bytes(animated_webp(self._pictures, durations, self._size))
        return [self._path]


def animated_webp(pictures: list[bytes], durations: list[int], size: tuple[int, int]) -> bytes:
    """Join pictures into one animation, as RFC 9649, section 2.7, says.

    Args:
        pictures: WebP files of one size, without transparency.
        durations: How long each is shown, ms.
        size: (width, height) px.
    """
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in size)
    body = b"WEBP" + _chunk(b"VP8X", bytes([0b10, 0, 0, 0]) + canvas)  # the flag of an animation
    body += _chunk(b"ANIM", bytes(6))  # black background, repeated for ever
    for picture, duration in zip(pictures, durations, strict=True):
        # At (0, 0), not blended with the one before it; then the file's chunks behind its header.
        frame = bytes(6) + canvas + duration.to_bytes(3, "little") + bytes([0b10]) + picture[12:]
        body += _chunk(b"ANMF", frame)
    return _chunk(b"RIFF", body)


def _chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a RIFF file, padded to an even length."""
    return name + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2)
