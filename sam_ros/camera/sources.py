"""Where the camera's pictures come from: a video, a folder of images, a webcam, a shipped clip or a built-in scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_ros.runtime.errors import FatalError

__all__ = [
    "CLIPS",
    "SCENES",
    "FolderSource",
    "Picture",
    "SceneSource",
    "Source",
    "SourceError",
    "VideoSource",
    "WebcamSource",
    "open_source",
]

SCENES = ("scene", "twins")  # of sam_core.synthetic, which is imported only for them
CLIPS = {"cup": Path(__file__).with_name("clips") / "cup.mp4"}  # camera recordings that the package ships, see NOTICE
IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class SourceError(FatalError):
    """A source of pictures cannot be opened or read."""


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        image: uint8 BGR (H, W, 3).
        labels: uint8 (H, W), 0 background, k object k, where the truth is known.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None = None


class Source(Protocol):
    """Pictures one after the other.

    Attributes:
        rate: Pictures per second that the source itself has; None where it has none.
    """

    rate: float | None

    def __iter__(self) -> Iterator[Picture]:
        """Begin at the first picture; a webcam goes on where it is."""


class SceneSource:
    """A synthetic scene, with its truth.

    Args:
        name: One of `SCENES`.
        width: px.
        height: px.
        rate: Pictures per second: how fast the scene goes.
    """

    def __init__(self, name: str, width: int, height: int, rate: float) -> None:
        from sam_core import synthetic

        self.rate: float | None = rate
        self._scene = synthetic.SCENES[name](width=width, height=height, fps=rate)

    def __iter__(self) -> Iterator[Picture]:
        for index in range(self._scene.length):
            frame = self._scene.render(index)
            yield Picture(cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), frame.labels)  # type: ignore[arg-type]


class VideoSource:
    """A video file.

    Raises:
        SourceError: OpenCV cannot read the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        capture = self._open()
        self.rate: float | None = capture.get(cv2.CAP_PROP_FPS) or None
        capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise SourceError(f"{self._path} is no video that OpenCV can read")
        return capture

    def __iter__(self) -> Iterator[Picture]:
        capture = self._open()
        try:
            yield from _grab(capture)
        finally:
            capture.release()


class WebcamSource:
    """A webcam.

    Args:
        index: OpenCV's number of the camera.
        width: Wanted width in px; 0 leaves the camera's.
        height: Wanted height in px; 0 leaves the camera's.

    Raises:
        SourceError: There is no such camera.
    """

    def __init__(self, index: int, width: int, height: int) -> None:
        self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            raise SourceError(f"there is no webcam {index}, or it is in use")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest picture, not the oldest buffered one
        if width and height:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        self.rate: float | None = self._capture.get(cv2.CAP_PROP_FPS) or None

    def __iter__(self) -> Iterator[Picture]:
        return _grab(self._capture)


class FolderSource:
    """The images of a folder in the order of their names.

    Raises:
        SourceError: There are none.
    """

    def __init__(self, folder: Path) -> None:
        self.rate: float | None = None
        self._paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if not self._paths:
            raise SourceError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")

    def __iter__(self) -> Iterator[Picture]:
        for path in self._paths:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise SourceError(f"{path} is no image that OpenCV can read")
            yield Picture(image)  # type: ignore[arg-type]


def _grab(capture: cv2.VideoCapture) -> Iterator[Picture]:
    while True:
        grabbed, image = capture.read()
        if not grabbed:
            return
        yield Picture(image)  # type: ignore[arg-type]


def open_source(name: str, *, width: int, height: int, rate: float) -> Source:
    """Open a source by its name.

    Args:
        name: One of `CLIPS` or `SCENES`, a video file, a folder of images, or a webcam's number.
        width: px, of a scene or wanted from a webcam; 0 means 640 for a scene.
        height: px, likewise; 0 means 480 for a scene.
        rate: Pictures per second of a scene; 0 means 30.

    Raises:
        SourceError: There is no such source, or it cannot be read.
    """
    if name in SCENES:
        return SceneSource(name, width or 640, height or 480, rate or 30.0)
    if name.isdecimal():
        return WebcamSource(int(name), width, height)
    path = CLIPS.get(name, Path(name).expanduser())
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return VideoSource(path)
    scenes, clips = ", ".join(SCENES), ", ".join(CLIPS)
    raise SourceError(
        f"'{name}' is neither a scene ({scenes}) nor a video, a folder of images, a webcam's number, or a shipped clip "
        f"({clips})"
    )
