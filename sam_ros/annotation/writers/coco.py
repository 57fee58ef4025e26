"""Write COCO: images and `annotations.json`, masks as run lengths, tracks by `track_id`."""

from __future__ import annotations

import json
import shutil
from typing import Any, ClassVar, TextIO

from sam_ros.annotation.records import FrameRecord
from sam_ros.annotation.writers.writer import Writer, frame_name, write_image
from sam_ros.conversions.encodings import RgbImage

__all__ = ["CocoWriter"]


class CocoWriter(Writer):
    """Every usable frame is an image, every mask an annotation with its object's id as `track_id`."""

    name: ClassVar[str] = "coco"
    target: ClassVar[str] = "coco"
    needs_images: ClassVar[bool] = True

    def begin(self) -> None:
        """Open the lists of images and annotations, which grow side by side."""
        self.partial.mkdir()
        self._images: TextIO = (self.partial / "images.part").open("w+", encoding="utf-8")
        self._annotations: TextIO = (self.partial / "annotations.part").open("w+", encoding="utf-8")
        self._count = 0
        self._category = {name: k for k, name in enumerate(self.classes, 1)}

    def add(self, record: FrameRecord, image: RgbImage | None) -> None:
        """Write a frame and its objects."""
        if image is None:
            return
        stamp, frame_id = self.source.index.header(record.frame)
        name = f"{frame_name(record.frame)}.{self.settings.image_format}"
        write_image(self.partial / "images" / name, image)
        height, width = record.size
        facts = {"id": record.frame + 1, "file_name": name, "height": height, "width": width}
        _append(self._images, {**facts, "frame_index": record.frame, "stamp": stamp, "frame_id": frame_id})
        for one in record.objects:
            if not one.area:
                continue
            self._count += 1
            x1, y1, x2, y2 = one.box
            annotation = {
                "id": self._count,
                "image_id": record.frame + 1,
                "category_id": self._category[self.class_of(one.object_id)],
                "track_id": one.object_id,
                "segmentation": {"size": [height, width], "counts": one.mask},
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": one.area,
                "iscrowd": 0,
                "score": one.quality,
            }
            _append(self._annotations, annotation)

    def end(self) -> None:
        """Join the lists."""
        tracks = [
            {"id": i, "category_id": self._category[self.class_of(i)], "name": label}
            for i, label in sorted(self.labels.items())
        ]
        categories = [{"id": k, "name": name} for name, k in self._category.items()]
        with (self.partial / "annotations.json").open("w", encoding="utf-8") as file:
            file.write(f'{{"info": {json.dumps({"description": self.source.name})},\n"categories": ')
            file.write(f'{json.dumps(categories)},\n"tracks": {json.dumps(tracks)},\n"images": [\n')
            for text, between in ((self._images, '\n],\n"annotations": [\n'), (self._annotations, "\n]}\n")):
                text.seek(0)
                shutil.copyfileobj(text, file)
                file.write(between)
        self.abandon()
        for part in ("images.part", "annotations.part"):
            (self.partial / part).unlink()

    def abandon(self) -> None:
        """Close the lists."""
        self._images.close()
        self._annotations.close()

    def abort(self) -> None:
        """Leave nothing behind."""
        self.abandon()
        super().abort()


def _append(file: TextIO, entry: dict[str, Any]) -> None:
    """Write an entry of a JSON list."""
    if file.tell():
        file.write(",\n")
    file.write(json.dumps(entry))
