"""From a stream to a file, and from a file to a stream."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from sam_core.errors import SavedObjectError
from sam_core.saved_objects.files import read_file, write_file
from sam_core.saved_objects.format import MOST_MEMORIES, from_bytes, to_bytes
from sam_core.saved_objects.record import SavedObject, check_fit
from sam_core.streaming import Stream, Tracker
from sam_core.streaming.object_memory import first_and_newest

__all__ = ["load_object", "recall", "save_object", "saved_from"]


def saved_from(tracker: Tracker, stream: Stream, object_id: int, concept: str = "") -> SavedObject:
    """Copy what is to be saved of an object: of its conditioning memories at most 16, the first and the newest others.

    Args:
        tracker: the stream's weights.
        stream: where the object is tracked.
        object_id: the object.
        concept: key of the concept that found it.

    Raises:
        UnknownObjectError: no such object.
    """
    newest, memory = stream.history.newest, stream.memory_of(object_id)
    kept = first_and_newest(len(memory.spatial), MOST_MEMORIES)
    return SavedObject(
        object_id=object_id,
        memory=replace(memory, spatial=memory.spatial[kept], pointers=memory.pointers[kept]),
        model=tracker.name,
        weights=tracker.weights_digest,
        side=tracker.image_size,
        image_size=(0, 0) if newest is None else newest.size,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        concept=concept,
    )


def recall(saved: SavedObject, stream: Stream, *, keep_id: bool = False) -> int:
    """Look for a saved object in a stream; it is `LOST` until it is found (see `Stream.recall`).

    Args:
        saved: the object; it fits to the stream's tracker (`check_fit`).
        stream: where to look for it.
        keep_id: whether it gets the id that it was saved with; else a new one.

    Returns:
        Its id in the stream.

    Raises:
        CapacityError: all places are taken.
        ObjectIdError: its id is taken.
    """
    return stream.recall(saved.memory, saved.object_id if keep_id else None)


def save_object(
    path: str | Path, tracker: Tracker, stream: Stream, object_id: int, *, concept: str = "", overwrite: bool = False
) -> None:
    """Save a tracked object as a file (`.safetensors`).

    Args:
        path: the file; its folder exists.
        tracker: the stream's weights.
        stream: where the object is tracked.
        object_id: the object.
        concept: key of the concept that found it.
        overwrite: whether an existing file is replaced.

    Raises:
        UnknownObjectError: no such object.
        SavedObjectError: the file exists, or cannot be written.
    """
    write_file(Path(path), to_bytes(saved_from(tracker, stream, object_id, concept)), overwrite=overwrite)


def load_object(path: str | Path, tracker: Tracker, stream: Stream, *, keep_id: bool = False) -> int:
    """Look for a saved object in the coming frames of a stream; it is `LOST` until it is found.

    Args:
        path: the file.
        tracker: the stream's weights.
        stream: where to look for it.
        keep_id: whether it gets the id that it was saved with; else a new one.

    Returns:
        Its id in the stream.

    Raises:
        SavedObjectError: the file is none of a saved object, damaged, or of other weights; the message names the file.
        CapacityError: all places are taken.
        ObjectIdError: its id is taken.
    """
    try:
        saved = from_bytes(read_file(Path(path)))
        check_fit(saved, tracker)
    except SavedObjectError as error:
        raise SavedObjectError(f"{path} is not loaded. {error}") from error
    return recall(saved, stream, keep_id=keep_id)
