"""Write what a person looks at: a video with the masks drawn over it, and a contact sheet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.records import FrameRecord, decode_mask
from sam_ros.annotation.writers.writer import Writer
from sam_ros.conversions.captions import draw_caption
from sam_ros.conversions.encodings import RgbImage
from sam_ros.conversions.overlay import draw_overlay

__all__ = ["SheetWriter", "VideoWriter", "drawn"]

_RATE = 10.0  # images a second, where the stamps tell none
_SLOWEST, _FASTEST = 1.0, 120.0  # images a second
_TILES, _COLUMNS, _TILE_WIDTH = 24, 4, 320  # of a sheet; px
_WHITE = (255, 255, 255)


def drawn(record: FrameRecord, image: RgbImage, labels: Any) -> NDArray[np.uint8]:
    """Return a frame with its objects drawn over it, uint8 BGR (H, W, 3), as the node draws its overlay."""
    crops = []
    for one in record.objects:
        x1, y1, x2, y2 = one.box
        crops.append(np.ascontiguousarray(decode_mask(one.mask, record.size)[y1:y2, x1:x2]).view(np.bool_))
    names = tuple(labels.get(one.object_id, "") for one in record.objects)
    masks: Any = SimpleNamespace(
        result=SimpleNamespace(object_ids=tuple(one.object_id for one in record.objects), labels=names),
        boxes=tuple(one.box for one in record.objects),
        crops=tuple(crops),
        scores=tuple(one.quality for one in record.objects),
    )
    return draw_overlay(image, masks)


class VideoWriter(Writer):
    """`overlay.mp4`: every usable frame, at the rate of the recording."""

    name: ClassVar[str] = "video"
    target: ClassVar[str] = "overlay.mp4"
    needs_images: ClassVar[bool] = True

    def begin(self) -> None:
        """Wait for the first image, which tells the size."""
        self._video: cv2.VideoWriter | None = None
        self._size = (0, 0)

    @property
    def _partial_video(self) -> str:
        return str(self.partial.with_suffix(".writing.mp4"))  # OpenCV chooses the container by the suffix

    def add(self, record: FrameRecord, image: RgbImage | None) -> None:
        """Draw a frame."""
        if image is None:
            return
        if self._video is None:
            self._size = (image.shape[1], image.shape[0])
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._video = cv2.VideoWriter(self._partial_video, code, self._rate(), self._size)
            if not self._video.isOpened():
                raise AnnotationError("OpenCV cannot write a video here.")
        picture = drawn(record, image, self.labels)
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size)  # type: ignore[assignment]
        self._video.write(picture)

    def _rate(self) -> float:
        stamps = self.source.index.stamps
        between = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
        return min(_FASTEST, max(_SLOWEST, 1e9 / between)) if between > 0 else _RATE

    def end(self) -> None:
        """Close the video."""
        if self._video is None:
            raise AnnotationError("There is no image to make a video of.")
        self._video.release()
        type(self.partial)(self._partial_video).replace(self.partial)

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._video is not None:
            self._video.release()
            type(self.partial)(self._partial_video).unlink(missing_ok=True)
        super().abort()


class SheetWriter(Writer):
    """`sheet.jpg`: frames at equal distances with the masks drawn over them, to check a run at a glance."""

    name: ClassVar[str] = "sheet"
    target: ClassVar[str] = "sheet.jpg"
    needs_images: ClassVar[bool] = True

    def begin(self) -> None:
        """Choose the frames."""
        count = len(self.source.index)
        self._chosen = set(np.linspace(0, count - 1, min(_TILES, count)).round().astype(int).tolist())
        self._tiles: list[NDArray[Any]] = []

    def wants(self, record: FrameRecord) -> bool:
        """Tell whether the image of a frame is needed."""
        return record.frame in self._chosen

    def add(self, record: FrameRecord, image: RgbImage | None) -> None:
        """Draw a frame, if it is one of those."""
        if image is None or not self.wants(record):
            return
        picture = drawn(record, image, self.labels)
        height = max(1, round(picture.shape[0] * _TILE_WIDTH / picture.shape[1]))
        tile: NDArray[Any] = cv2.resize(picture, (_TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
        draw_caption(tile, f"{record.frame}", 0, height - 1, _WHITE)
        self._tiles.append(tile)

    def end(self) -> None:
        """Put the sheet together."""
        if not self._tiles:
            raise AnnotationError("There is no image to make a sheet of.")
        height = max(tile.shape[0] for tile in self._tiles)
        rows = -(-len(self._tiles) // _COLUMNS)
        sheet = np.zeros((rows * height, _COLUMNS * _TILE_WIDTH, 3), np.uint8)
        for k, tile in enumerate(self._tiles):
            y, x = k // _COLUMNS * height, k % _COLUMNS * _TILE_WIDTH
            sheet[y : y + tile.shape[0], x : x + _TILE_WIDTH] = tile
        self.partial.write_bytes(cv2.imencode(".jpg", sheet)[1].tobytes())
