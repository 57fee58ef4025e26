"""Where the camera's pictures come from: a video, a folder of images, a webcam, a shipped clip or a built-in scene."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_ros.camera.depth_sources import ROOM, RoomSource, TumSource, is_tum
from sam_ros.camera.names import IMAGE_SUFFIXES, image_files
from sam_ros.camera.pictures import Picture, Skipped, SourceError

__all__ = [
    "CLIPS",
    "SCENES",
    "FolderSource",
    "Picture",
    "SceneSource",
    "Skipped",
    "Source",
    "SourceError",
    "VideoSource",
    "WebcamSource",
    "open_source",
    "without_password",
]

SCENES = ("scene", "twins")  # of sam_core.synthetic, which is imported only for them
CLIPS = {"cup": Path(__file__).with_name("clips") / "cup.mp4"}  # camera recordings that the package ships, see NOTICE
_PATIENCE = 10  # frames in a row that cannot be read, after which a video or a webcam has ended
_MOST_RATE = 1000.0  # Hz; network streams tell the rate of their clock, 90 kHz, where they know none


class Source(Protocol):
    """Pictures one after the other.

    Attributes:
        rate: Pictures per second that the source itself has; None where it has none.
        skipped: Pictures that could not be read.
    """

    rate: float | None
    skipped: Skipped

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
        self.skipped = Skipped()
        self._scene = synthetic.SCENES[name](width=width, height=height, fps=rate)

    def __iter__(self) -> Iterator[Picture]:
        for index in range(self._scene.length):
            frame = self._scene.render(index)
            yield Picture(cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), frame.labels)  # type: ignore[arg-type]


class VideoSource:
    """A video file, or a stream in the network.

    Args:
        location: Path of the file, or address of the stream.

    Raises:
        SourceError: OpenCV cannot read it.
    """

    def __init__(self, location: Path | str) -> None:
        self._location = str(location)
        self.skipped = Skipped()
        capture = self._open()
        self.rate: float | None = _rate_of(capture)
        capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._location)
        if not capture.isOpened():
            raise SourceError(f"{without_password(self._location)} is no video that OpenCV can read")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # of a stream: the newest picture, not the oldest buffered one
        return capture

    def __iter__(self) -> Iterator[Picture]:
        capture = self._open()
        try:
            yield from _grab(capture, self.skipped)
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
        self.rate: float | None = _rate_of(self._capture)
        self.skipped = Skipped()

    def __iter__(self) -> Iterator[Picture]:
        return _grab(self._capture, self.skipped)


class FolderSource:
    """The images of a folder in the order of their names, where numbers count as numbers: 2 comes before 10.

    Hidden files are left out. Files that cannot be read are skipped.

    Raises:
        SourceError: There are none, or, on the way, none that can be read.
    """

    def __init__(self, folder: Path) -> None:
        self.rate: float | None = None
        self.skipped = Skipped()
        self._folder = folder
        self._paths = image_files(folder)
        if not self._paths:
            raise SourceError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")

    def __iter__(self) -> Iterator[Picture]:
        readable = False
        for path in self._paths:
            image = _read(path)
            if image is None:
                self.skipped.add(f"{path} is no image that OpenCV can read")
                continue
            readable = True
            yield Picture(image)
        if not readable:
            raise SourceError(f"none of the {len(self._paths)} images in {self._folder} can be read")


def _read(path: Path) -> NDArray[np.uint8] | None:
    try:
        return cv2.imread(str(path), cv2.IMREAD_COLOR)  # type: ignore[return-value]
    except cv2.error:  # a size beyond OpenCV's limits, for one
        return None


def _rate_of(capture: cv2.VideoCapture) -> float | None:
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate <= _MOST_RATE else None


def _grab(capture: cv2.VideoCapture, skipped: Skipped) -> Iterator[Picture]:
    failures = 0
    while failures < _PATIENCE:
        grabbed, image = capture.read()
        if not grabbed:
            failures += 1
            continue
        if failures:
            skipped.add(f"{failures} frame(s) could not be read", failures)
            failures = 0
        yield Picture(image)  # type: ignore[arg-type]


def without_password(name: str) -> str:
    """Return the name of a source without the user and password of an address, for logs."""
    return re.sub(r"://[^/@]*@", "://", name)


def _open_live(name: str, width: int, height: int) -> Source | None:
    """Open a source that is named by its device or its address; None where it is not."""
    if "://" in name and not name.startswith("file://"):
        return VideoSource(name)
    device = re.fullmatch(r"/dev/video(\d+)", str(Path(name).resolve())) if name.startswith("/dev/") else None
    return WebcamSource(int(device[1]), width, height) if device else None


def open_source(name: str, *, width: int, height: int, rate: float) -> Source:
    """Open a source by its name.

    A webcam can be named by its device too (/dev/video0, or a link to it), and a network stream by its address
    (rtsp://, http://, ...).

    Args:
        name: One of `CLIPS` or `SCENES`, `ROOM`, a video file, a folder of images or in TUM's layout, or a webcam's
            number.
        width: px, of a scene or wanted from a webcam; 0 means 640 for a scene.
        height: px, likewise; 0 means 480 for a scene.
        rate: Pictures per second of a scene; 0 means 30.

    Raises:
        SourceError: There is no such source, or it cannot be read.
    """
    live = _open_live(name, width, height)
    if live is not None:
        return live
    if name == ROOM:
        return RoomSource(width or 640, height or 480, rate)
    if name in SCENES:
        return SceneSource(name, width or 640, height or 480, rate or 30.0)
    if name.isdecimal():
        return WebcamSource(int(name), width, height)
    path = CLIPS.get(name, Path(name).expanduser())
    if path.is_dir():
        return TumSource(path) if is_tum(path) else FolderSource(path)
    if path.is_file():
        return VideoSource(path)
    scenes, clips = ", ".join((*SCENES, ROOM)), ", ".join(CLIPS)
    raise SourceError(
        f"'{name}' is neither a scene ({scenes}) nor a video, a folder of images, a webcam's number, or a shipped clip "
        f"({clips})"
    )
