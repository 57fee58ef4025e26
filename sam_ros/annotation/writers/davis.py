"""Write the layout of DAVIS and MOSE: images, and indexed PNG masks whose values are object ids."""

from __future__ import annotations

import json
import struct
import zlib
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.records import FrameRecord, decode_mask
from sam_ros.annotation.writers.writer import Writer, frame_name, write_image
from sam_ros.conversions.encodings import RgbImage

__all__ = ["DavisWriter", "indexed_png", "label_map"]

_LARGEST_ID = 255  # of a PNG with a palette


class DavisWriter(Writer):
    """`JPEGImages/<recording>/` and `Annotations/<recording>/`, one file a frame."""

    name: ClassVar[str] = "davis"
    target: ClassVar[str] = "davis"
    needs_images: ClassVar[bool] = True

    def begin(self) -> None:
        """Make the folders.

        Raises:
            AnnotationError: There are more objects than the format has values.
        """
        if max(self.labels, default=0) > _LARGEST_ID:
            raise AnnotationError(
                f"DAVIS masks hold ids up to {_LARGEST_ID}, but the run has an object {max(self.labels)}."
            )
        self._images = self.partial / "JPEGImages" / self.source.name
        self._masks = self.partial / "Annotations" / self.source.name
        self._masks.mkdir(parents=True)
        objects = {str(i): label for i, label in sorted(self.labels.items())}
        (self.partial / "objects.json").write_text(json.dumps({self.source.name: objects}, indent=1), encoding="utf-8")

    def add(self, record: FrameRecord, image: RgbImage | None) -> None:
        """Write a frame and its masks."""
        if image is None:
            return
        name = frame_name(record.frame)
        write_image(self._images / f"{name}.{self.settings.image_format}", image)
        (self._masks / f"{name}.png").write_bytes(indexed_png(label_map(record).astype(np.uint8)))

    def end(self) -> None:
        """Do nothing: each file is complete."""


def label_map(record: FrameRecord) -> NDArray[np.uint16]:
    """Paint object ids into an image (H, W); 0 is background.

    Where masks of one pass overlap, the pixel goes to the highest logit, as in the node's label image; where masks of
    two passes do, to the object with the higher score.
    """
    labels = np.zeros(record.size, np.uint16)
    seen = [one for one in sorted(record.objects, key=lambda one: one.quality) if one.area]
    parts = [(one.object_id, one.mask) for one in seen]
    parts += [(one.object_id, one.owned or one.mask) for one in seen]
    for object_id, text in parts:
        labels[decode_mask(text, record.size) > 0] = object_id
    return labels


def indexed_png(labels: NDArray[np.uint8]) -> bytes:
    """Return labels (H, W) as a PNG with the palette of DAVIS. Source: PNG specification, 11.2."""
    height, width = labels.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = labels
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", _palette().tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in chunks:
        parts += [struct.pack(">I", len(data)), name, data, struct.pack(">I", zlib.crc32(name + data))]
    return b"".join(parts)


def _palette() -> NDArray[np.uint8]:
    """Return the colours (256, 3) of Pascal VOC, which DAVIS uses: the bits of an index, spread over the channels."""
    index = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit) if 3 * bit + channel < 8 else 0
    return colours.astype(np.uint8)
