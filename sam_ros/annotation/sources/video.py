"""The images of a video file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core import ImageError
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.sources.index import IndexBuilder, Problems, Window
from sam_ros.conversions.encodings import MAX_PIXELS, RgbImage, check_size

__all__ = ["VideoSource"]

_AHEAD = 64  # images that are rather skipped than sought
_BLOCK_IMAGES, _BLOCK_BYTES = 32, 64 << 20  # decoded images that are kept when a video is read backwards
_SAME = 0.01  # ms between the time of an image and what it should be


class VideoSource:
    """A video file with random access.

    A jump is believed only where the image that it leads to has the right time; else the video is read from its
    beginning.

    Args:
        path: The file.
        window: Which images are wanted.
        frame_id: Put into the headers.
        max_pixels: Videos of larger images are refused.

    Raises:
        AnnotationError: OpenCV cannot read it.
    """

    def __init__(self, path: Path, window: Window, frame_id: str, max_pixels: int = MAX_PIXELS) -> None:
        self.name = path.name
        self.problems = Problems()
        self._path = path
        self._capture = self._open()
        self._next = 0  # number, in the file, of the image that is read next
        width, height = (int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        try:
            check_size(width, height, max_pixels)
        except ImageError as error:
            raise AnnotationError(f"{path.name} cannot be used: {error}.") from error
        self._block_images = max(1, min(_BLOCK_IMAGES, _BLOCK_BYTES // (3 * width * height)))
        self._block: dict[int, RgbImage] = {}
        builder = IndexBuilder(window, self.problems)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        number = 0
        while self._capture.grab():
            milliseconds = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            if number and milliseconds <= 0 and rate > 0:  # a file without times
                milliseconds = 1000 * number / rate
            stamp = round(milliseconds * 1e6)
            builder.add(stamp, frame_id, (number, stamp), stamp)
            number += 1
        if not number:
            raise AnnotationError(f"{path.name} holds no image that OpenCV can read.")
        expected = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if expected > number:
            self.problems.add(f"{path.name} should hold {expected} images, but {number} can be read.")
        self.index = builder.finish()
        self._rewind()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise AnnotationError(f"{self._path.name} is no video that OpenCV can read.")
        return capture

    def _rewind(self) -> None:
        self._capture.release()
        self._capture = self._open()
        self._next = 0

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def image(self, frame: int) -> RgbImage:
        """Return an image as uint8 RGB (H, W, 3).

        Raises:
            ImageError: It cannot be decoded.
        """
        number = int(self.index.places[frame, 0])
        if number in self._block:
            return self._block[number]
        if self._next <= number <= self._next + _AHEAD:
            return self._read(number)
        # A block that ends here: one reads backwards, or jumps.
        numbers = self.index.places[:, 0]
        block = [int(k) for k in numbers[(numbers > number - self._block_images) & (numbers <= number)]]
        self._seek(block[0])
        self._block = {}
        for k in block:
            self._block[k] = self._read(k)
        return self._block[number]

    def _seek(self, number: int) -> None:
        """Make an image of the index the next one."""
        (frame,) = np.flatnonzero(self.index.places[:, 0] == number)
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        self._next = number
        due = float(self.index.places[frame, 1]) / 1e6
        if not self._capture.grab() or abs(self._capture.get(cv2.CAP_PROP_POS_MSEC) - due) > _SAME:
            self._rewind()
            return
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, number)

    def _read(self, number: int) -> RgbImage:
        while self._next < number:
            self._capture.grab()
            self._next += 1
        there, image = self._capture.read()
        self._next += 1
        if not there:
            raise ImageError(f"image {number} of {self.name} cannot be read again")
        pixels: NDArray[np.uint8] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[assignment]
        return pixels
