"""The camera clips, and the box with which an object begins in the first frame of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["BOXES", "SHIPPED", "Clip", "ClipError", "clips_in"]

SHIPPED = Path(__file__).resolve().parents[2] / "sam_ros" / "camera" / "clips"

# xyxy px in 640 × 480, of the two clips of OpenCV's documentation (Apache-2.0; see NOTICE).
BOXES = {"cup": (302.0, 122.0, 425.0, 388.0), "box": (296.0, 8.0, 600.0, 244.0)}


class ClipError(RuntimeError):
    """There is no clip, or it cannot be read."""


@dataclass(frozen=True)
class Clip:
    """A video.

    Attributes:
        name: Key of `BOXES`.
        path: The file.
    """

    name: str
    path: Path

    @property
    def box(self) -> NDArray[np.float32]:
        """Box of the object in the first frame, (4,) xyxy px."""
        return np.array(BOXES[self.name], np.float32)

    def frames(self, count: int, every: int = 1) -> Iterator[NDArray[np.uint8]]:
        """Yield at most `count` frames (H, W, 3) uint8 RGB, every `every`-th from the first.

        Raises:
            ClipError: the file cannot be read as a video.
        """
        capture = cv2.VideoCapture(str(self.path))
        try:
            for i in range(count * every):
                there, frame = capture.read()
                if not there:
                    if i == 0:
                        raise ClipError(f"{self.path} cannot be read as a video.")
                    return
                if i % every == 0:
                    yield np.ascontiguousarray(frame[..., ::-1])
        finally:
            capture.release()


def clips_in(folder: Path) -> list[Clip]:
    """Find the clips `cup.mp4` and `box.mp4` in a folder.

    Raises:
        ClipError: none of them is there.
    """
    found = [Clip(name, folder / f"{name}.mp4") for name in BOXES if (folder / f"{name}.mp4").is_file()]
    if not found:
        names = " or ".join(f"{name}.mp4" for name in BOXES)
        raise ClipError(f"There is no {names} in {folder}; Debian's package opencv-doc has both.")
    return found
