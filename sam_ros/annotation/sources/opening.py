"""Open a recording by its path."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from pathlib import Path

from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.sources.bag import BagSource, is_bag
from sam_ros.annotation.sources.folder import FolderSource
from sam_ros.annotation.sources.index import FrameSource, Window
from sam_ros.annotation.sources.video import VideoSource
from sam_ros.conversions.decoder import ImageDecoder
from sam_ros.conversions.encodings import MAX_PIXELS

__all__ = ["InputSettings", "open_source"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InputSettings:
    """How recordings are read.

    Attributes:
        topic: Topic of a bag; None where it has one topic of images.
        window: Which images are wanted.
        rate: Images a second of a folder.
        frame_id: Of the headers of a video or a folder.
        max_pixels: Larger images are left out.
        white_level: Value of 16-bit samples that becomes white, as the node's parameter.
    """

    topic: str | None = None
    window: Window = field(default_factory=Window)
    rate: float = 30.0
    frame_id: str = ""
    max_pixels: int = MAX_PIXELS
    white_level: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        if not 0 < self.rate < math.inf:
            raise AnnotationError(f"The rate must be a number of images a second above 0, not {self.rate:g}.")
        if self.max_pixels < 1:
            raise AnnotationError(f"The most pixels of an image must be at least 1, not {self.max_pixels}.")
        if not 0 <= self.white_level < math.inf:
            raise AnnotationError(f"The white level must be a number of at least 0, not {self.white_level:g}.")


def open_source(path: Path, settings: InputSettings) -> FrameSource:
    """Open a bag, a video or a folder of images.

    Raises:
        AnnotationError: It is none of these, it cannot be read, or nothing of it is wanted.
    """
    if not path.exists():
        raise AnnotationError(f"{path} does not exist.")
    source: FrameSource
    if is_bag(path):
        decode = ImageDecoder(warn=_log.warning, max_pixels=settings.max_pixels, white_level=settings.white_level)
        source = BagSource(path, settings.topic, settings.window, decode)
    elif path.is_dir():
        source = FolderSource(path, settings.window, settings.rate, settings.frame_id, settings.max_pixels)
    else:
        source = VideoSource(path, settings.window, settings.frame_id, settings.max_pixels)
    if not len(source.index):
        told = " ".join(source.problems.texts[:3])
        source.close()
        raise AnnotationError(f"{path.name} has no image in the range that is wanted. {told}".strip())
    return source
