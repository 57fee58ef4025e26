"""Keep what the demo saw: an annotated video in real time, and a strip of pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Recording"]

VIDEO_RATE = 15.0  # Hz
TILE_WIDTH = 480  # px
COLUMNS = 3


class Recording:
    """Write pictures with their stamps.

    Args:
        folder: Where `tracking.mp4` and `tracking.png` go.
        seconds: Expected length; the strip's pictures are spread over it.
        pictures: Number of pictures in the strip.
    """

    def __init__(self, folder: Path, seconds: float, pictures: int = 6) -> None:
        self.video = folder / "tracking.mp4"
        self.strip = folder / "tracking.png"
        self._interval = seconds / pictures
        self._pictures = pictures
        self._tiles: list[NDArray[np.uint8]] = []
        self._writer: cv2.VideoWriter | None = None
        self._start = 0
        self._written = 0

    def add(self, image: NDArray[np.uint8], stamp: int) -> None:
        """Append a picture.

        Args:
            image: uint8 BGR (H, W, 3), always of one size.
            stamp: ns; the picture is held in the video until the next one's stamp.
        """
        height, width = image.shape[:2]
        if self._writer is None:
            self._start = stamp
            self._writer = cv2.VideoWriter(
                str(self.video), cv2.VideoWriter.fourcc(*"mp4v"), VIDEO_RATE, (width, height)
            )
        seconds = (stamp - self._start) * 1e-9
        while self._written <= seconds * VIDEO_RATE:
            self._writer.write(image)
            self._written += 1
        if len(self._tiles) < self._pictures and seconds >= len(self._tiles) * self._interval:
            self._add_tile(image, f"{seconds:.1f} s")

    def add_still(self, image: NDArray[np.uint8]) -> None:
        """Append a picture, uint8 BGR of the same size, to the strip alone."""
        self._add_tile(image, "")

    def _add_tile(self, image: NDArray[np.uint8], text: str) -> None:
        height, width = image.shape[:2]
        tile = cv2.resize(image, (TILE_WIDTH, round(TILE_WIDTH * height / width)), interpolation=cv2.INTER_AREA)
        cv2.putText(tile, text, (8, tile.shape[0] - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255,) * 3, 2)
        self._tiles.append(tile)  # type: ignore[arg-type]

    def close(self) -> list[Path]:
        """Finish the files and return those that hold something."""
        if self._writer is not None:
            self._writer.release()
        if not self._tiles:
            return []
        rows = [self._tiles[i : i + COLUMNS] for i in range(0, len(self._tiles), COLUMNS)]
        blank = np.zeros_like(self._tiles[0])
        columns = min(COLUMNS, len(self._tiles))
        strip = np.vstack([np.hstack(row + [blank] * (columns - len(row))) for row in rows])
        cv2.imwrite(str(self.strip), strip)
        return [path for path in (self.video, self.strip) if path.is_file()]
