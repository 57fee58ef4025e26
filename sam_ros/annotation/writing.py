"""Write the outputs of a run: one pass over its frames, all writers side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sam_core import ImageError
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.records import FrameRecord
from sam_ros.annotation.results import Results
from sam_ros.annotation.sources import FrameSource
from sam_ros.annotation.writers import OutputSettings, Writer
from sam_ros.conversions.encodings import RgbImage

__all__ = ["write_outputs"]


def write_outputs(
    kinds: Sequence[type[Writer]],
    folder: Path,
    source: FrameSource,
    results: Results,
    settings: OutputSettings,
    threshold: float,
    progress: Callable[[int], None] = lambda frames: None,
) -> list[str]:
    """Write outputs; each appears when all are complete, and none does otherwise.

    Args:
        kinds: What to write.
        folder: Of the run.
        source: The recording.
        results: What was tracked.
        settings: How to write it.
        threshold: Mask threshold (logit) of the run.
        progress: Called after each frame with 1.

    Returns:
        What could not be written, in sentences.

    Raises:
        AnnotationError: The recording has changed, or an output cannot be written.
    """
    writers: list[Writer] = []
    try:
        for kind in kinds:
            writers.append(kind(folder, source, results.labels, settings, threshold))
        for record in results.read():
            image = _image_for(writers, record, source)
            for writer in writers:
                writer.add(record, image)
            progress(1)
        for writer in writers:
            writer.end()
    except BaseException as error:
        for writer in writers:
            writer.abort()
        if isinstance(error, OSError):
            raise AnnotationError(f"The results cannot be written: {error}.") from error
        raise
    for writer in writers:
        writer.appear()
    return [problem for writer in writers for problem in writer.problems]


def _image_for(writers: Sequence[Writer], record: FrameRecord, source: FrameSource) -> RgbImage | None:
    """Read the image of a frame, if it is usable and somebody wants it."""
    if not record.is_usable or not any(writer.wants(record) for writer in writers):
        return None
    try:
        return source.image(record.frame)
    except ImageError as error:
        raise AnnotationError(f"The recording has changed since it was tracked: {error}.") from error
