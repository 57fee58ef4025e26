"""What every writer has in common: frames in, a file or a folder out that appears whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.records import FrameRecord
from sam_ros.annotation.sources import FrameSource
from sam_ros.conversions.encodings import RgbImage
from sam_ros.conversions.masks import UNLABELLED

__all__ = ["OutputSettings", "Writer", "frame_name", "remove", "write_image"]


@dataclass(frozen=True)
class OutputSettings:
    """How results are written.

    Attributes:
        image_format: `jpg` or `png`: how images go into data sets.
        validation: Share of the frames, the last ones, that a YOLO data set keeps for validation, 0 to below 1.
        topics: Begin of the names of topics in a bag, as the node's name is.
        originals: Whether the bag gets the recording's own messages, too.
    """

    image_format: str = "jpg"
    validation: float = 0.2
    topics: str = "/tracker"
    originals: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        if self.image_format not in ("jpg", "png"):
            raise AnnotationError(f"Images are written as jpg or png, not {self.image_format}.")
        if not 0 <= self.validation < 1:
            raise AnnotationError(f"The share for validation must be at least 0 and below 1, not {self.validation:g}.")


class Writer:
    """Write the frames of a recording, in their order.

    Everything goes into `path` with the suffix `.partial`, which `appear` renames.

    Args:
        folder: The run's folder.
        source: The recording.
        labels: What each object is called, by id.
        settings: How results are written.
        threshold: Mask threshold (logit) of the run.
    """

    name: ClassVar[str]  # what the command line calls it
    target: ClassVar[str]  # file or folder below the run's folder
    needs_images: ClassVar[bool] = False  # whether it is for pictures at all

    def __init__(
        self, folder: Path, source: FrameSource, labels: Mapping[int, str], settings: OutputSettings, threshold: float
    ) -> None:
        self.path = folder / self.target
        self.partial = folder / f"{self.target}.partial"
        self.source = source
        self.labels = labels
        self.settings = settings
        self.threshold = threshold
        self.problems: list[str] = []
        remove(self.partial)
        try:
            self.begin()
        except BaseException:
            remove(self.partial)
            raise

    @property
    def classes(self) -> list[str]:
        """The names of the objects' classes, in the order of their first objects."""
        return list(dict.fromkeys(label or UNLABELLED for _, label in sorted(self.labels.items())))

    def class_of(self, object_id: int) -> str:
        """Return the name of an object's class."""
        return self.labels.get(object_id) or UNLABELLED

    def wants(self, record: FrameRecord) -> bool:
        """Tell whether the image of a frame is needed."""
        return self.needs_images

    def begin(self) -> None:
        """Open `partial`."""
        raise NotImplementedError

    def add(self, record: FrameRecord, image: RgbImage | None) -> None:
        """Write a frame.

        Args:
            record: Its objects.
            image: uint8 RGB (H, W, 3), where `needs_images`.
        """
        raise NotImplementedError

    def end(self) -> None:
        """Close `partial`."""
        raise NotImplementedError

    def appear(self) -> None:
        """Put what is complete in its place, instead of an earlier output."""
        remove(self.path)
        self.partial.replace(self.path)

    def abort(self) -> None:
        """Leave nothing behind."""
        remove(self.partial)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def frame_name(frame: int) -> str:
    """Return what the files of a frame are called."""
    return f"{frame:06d}"


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image, RGB (H, W, 3).

    Raises:
        AnnotationError: It cannot be written.
    """
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else []
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality):
        raise AnnotationError(f"The image {path} cannot be written.")
