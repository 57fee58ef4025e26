"""The images of a folder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from sam_core import ImageError
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.sources.index import IndexBuilder, Problems, Window
from sam_ros.camera.names import IMAGE_SUFFIXES, image_files
from sam_ros.conversions.compressed import compressed_to_rgb
from sam_ros.conversions.encodings import MAX_PIXELS, RgbImage, check_size

__all__ = ["FolderSource"]

_CHECKED = {".jpeg", ".jpg", ".png", ".webp"}  # formats whose header tells the size before anything is decoded


class FolderSource:
    """Images in the order of their names, where numbers count as numbers.

    Args:
        folder: The folder.
        window: Which images are wanted.
        rate: Images a second, from which the stamps come.
        frame_id: Put into the headers.
        max_pixels: Larger images are refused.

    Raises:
        AnnotationError: There are no images.
    """

    def __init__(self, folder: Path, window: Window, rate: float, frame_id: str, max_pixels: int = MAX_PIXELS) -> None:
        self.name = folder.name
        self.problems = Problems()
        self._max_pixels = max_pixels
        self._paths = image_files(folder)
        if not self._paths:
            raise AnnotationError(f"{folder.name} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}) and no bag.")
        builder = IndexBuilder(window, self.problems)
        for number in range(len(self._paths)):
            stamp = round(number * 1e9 / rate)
            builder.add(stamp, frame_id, (number, 0), stamp)
        self.index = builder.finish()

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def path(self, frame: int) -> Path:
        """Return the file of a frame."""
        return self._paths[int(self.index.places[frame, 0])]

    def image(self, frame: int) -> RgbImage:
        """Return an image as uint8 RGB (H, W, 3).

        Raises:
            ImageError: It cannot be decoded.
        """
        path = self.path(frame)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ImageError(f"{path.name} cannot be read: {error.strerror}") from error
        if path.suffix.lower() in _CHECKED:
            content = SimpleNamespace(data=data, format="")
            return compressed_to_rgb(content, max_pixels=self._max_pixels)
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:  # empty, or of a size beyond OpenCV's limits
            image = None
        if image is None:
            raise ImageError(f"{path.name} is no image that OpenCV can read")
        check_size(image.shape[1], image.shape[0], self._max_pixels)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]
