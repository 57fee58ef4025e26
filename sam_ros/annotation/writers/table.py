"""Write boxes and scores as CSV."""

from __future__ import annotations

import csv
from typing import ClassVar

from sam_ros.annotation.records import FrameRecord
from sam_ros.annotation.writers.writer import Writer
from sam_ros.conversions.encodings import RgbImage

__all__ = ["TableWriter"]

_COLUMNS = ("frame", "stamp_ns", "object_id", "label", "state", "x_min", "y_min", "x_max", "y_max", "area",
            "centroid_x", "centroid_y", "predicted_iou", "presence", "concept", "detection_score")  # fmt: skip


class TableWriter(Writer):
    """One line for each object on each frame; pixels count from the image's upper left corner."""

    name: ClassVar[str] = "csv"
    target: ClassVar[str] = "boxes.csv"

    def begin(self) -> None:
        """Write the head of the table."""
        self._file = self.partial.open("w", encoding="utf-8", newline="")
        self._table = csv.writer(self._file, lineterminator="\n")
        self._table.writerow(_COLUMNS)

    def add(self, record: FrameRecord, image: RgbImage | None) -> None:
        """Write the objects of a frame."""
        stamp, _ = self.source.index.header(record.frame)
        for one in record.objects:
            centroid = one.centroid if one.area else ("", "")
            seen = (record.frame, stamp, one.object_id, self.labels.get(one.object_id, ""), one.state.value)
            found = (one.concept, one.score if one.concept else "")
            self._table.writerow((*seen, *one.box, one.area, *centroid, one.predicted_iou, one.presence, *found))

    def end(self) -> None:
        """Close the file."""
        self._file.close()

    def abort(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        super().abort()
