"""Write a YOLO segmentation data set: images, polygons, `data.yaml`."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from sam_ros.annotation.records import FrameRecord, decode_mask
from sam_ros.annotation.writers.writer import Writer, frame_name, write_image
from sam_ros.conversions.encodings import RgbImage

__all__ = ["YoloWriter", "polygon_of"]

_LEAST = 3  # corners of a polygon
_MOST_RINGS = 100  # holes and parts of a mask that are kept, the longest
_COMPARED = 300  # pixels of each outline that are compared to find the shortest line between two


class YoloWriter(Writer):
    """One text file a frame; a line is a class and the outline of an object, as shares of the image's sides.

    The last frames are for validation: neighbouring frames look alike, so a random choice would test on what was
    trained.
    """

    name: ClassVar[str] = "yolo"
    target: ClassVar[str] = "yolo"
    needs_images: ClassVar[bool] = True

    def begin(self) -> None:
        """Make the folders and `data.yaml`."""
        for part in ("train", "val"):
            (self.partial / "labels" / part).mkdir(parents=True)
            (self.partial / "images" / part).mkdir(parents=True)
        self._validate_from = round(len(self.source.index) * (1 - self.settings.validation))
        content = {  # without `path` the others begin at this file's folder
            "train": "images/train",
            "val": "images/val" if self._validate_from < len(self.source.index) else "images/train",
            "names": dict(enumerate(self.classes)),
        }
        (self.partial / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def add(self, record: FrameRecord, image: RgbImage | None) -> None:
        """Write a frame and the outlines on it."""
        if image is None:
            return
        part, name = ("train" if record.frame < self._validate_from else "val"), frame_name(record.frame)
        write_image(self.partial / "images" / part / f"{name}.{self.settings.image_format}", image)
        lines = []
        for one in record.objects:
            polygon = polygon_of(decode_mask(one.mask, record.size)) if one.area else None
            if polygon is not None:
                shares = (polygon + 0.5) / np.array(record.size[::-1])
                numbers = " ".join(f"{share:.6f}" for share in shares.ravel())
                lines.append(f"{self.classes.index(self.class_of(one.object_id))} {numbers}\n")
        (self.partial / "labels" / part / f"{name}.txt").write_text("".join(lines), encoding="utf-8")

    def end(self) -> None:
        """Do nothing: each file is complete."""


def polygon_of(mask: NDArray[np.uint8]) -> NDArray[np.int64] | None:
    """Return one outline of a mask (H, W): pixels (K, 2) xy, which belong to the mask, as OpenCV fills them.

    The format has one outline for each object, so holes and further parts are joined to it by a line there and back.
    None for a mask that is too small for an outline.
    """
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings: list[NDArray[Any]] = [contour[:, 0] for contour in contours]
    if not rings:
        return None
    outer = [k for k in range(len(rings)) if tree[0][k][3] < 0]
    largest = max(outer, key=lambda k: len(rings[k]))
    others = sorted((k for k in range(len(rings)) if k != largest), key=lambda k: -len(rings[k]))
    outline = _closed(rings[largest])
    for k in others[:_MOST_RINGS]:
        outline = _bridged(outline, rings[k])
    return outline.astype(np.int64) if len(outline) >= _LEAST else None


def _closed(ring: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate((ring, ring[:1]))


def _bridged(outline: NDArray[Any], ring: NDArray[Any]) -> NDArray[Any]:
    """Join a ring to an outline where they are nearest to each other."""
    steps = -(-len(outline) // _COMPARED), -(-len(ring) // _COMPARED)
    some, others = outline[:: steps[0]], ring[:: steps[1]]
    at, first = divmod(int(np.abs(some[:, None] - others[None]).sum(-1).argmin()), len(others))
    at, first = at * steps[0], first * steps[1]
    turned = _closed(np.roll(ring, -first, axis=0))
    return np.concatenate((outline[: at + 1], turned, outline[at:]))
