"""Write results: a bag, data sets, a table, pictures. One pass over the frames serves all."""

from __future__ import annotations

from sam_ros.annotation.writers.bag import BagWriter
from sam_ros.annotation.writers.coco import CocoWriter
from sam_ros.annotation.writers.davis import DavisWriter
from sam_ros.annotation.writers.pictures import SheetWriter, VideoWriter
from sam_ros.annotation.writers.report import ReportWriter
from sam_ros.annotation.writers.table import TableWriter
from sam_ros.annotation.writers.writer import OutputSettings, Writer
from sam_ros.annotation.writers.yolo import YoloWriter

__all__ = ["WRITERS", "OutputSettings", "Writer"]

_ALL: tuple[type[Writer], ...] = (
    BagWriter, CocoWriter, YoloWriter, DavisWriter, TableWriter, VideoWriter, SheetWriter, ReportWriter,
)  # fmt: skip

WRITERS: dict[str, type[Writer]] = {one.name: one for one in _ALL}
