"""Save all objects every so often and at the end, and bring them back with their ids in the next run."""

from __future__ import annotations

import hashlib
import re
import time
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

from sam_core import CapacityError, ObjectIdError, SavedObjectError
from sam_core.saved_objects import SUFFIX, SavedObject, remove_leftovers, to_bytes, write_file
from sam_core.streaming.object_memory import LARGEST_KEPT_ID
from sam_ros.runtime.errors import RefusedError
from sam_ros.runtime.texts import legible
from sam_ros.tracking.inference import InferenceThread
from sam_ros.tracking.object_store import MOST_FILES, ObjectStore
from sam_ros.tracking.session import Session

__all__ = ["Autosave"]

_FOLDER = "autosave"
_FILE = re.compile(r"([1-9][0-9]{0,9})\.safetensors")
_NO_DATE = "1970-01-01T00:00:00+00:00"
_LATE = 3  # periods that a save may take until the diagnostics tell
_PATIENCE = 10.0  # s that it may take in any case: a network can be slow


class Autosave:
    """Keep one file for each object, in the folder `autosave` of the folder of saved objects.

    A file is written only when what is remembered of its object for good has changed. Files of objects that are gone
    are deleted, but never those that could not be loaded: new objects get ids above theirs.

    Args:
        node: Whose timer it is.
        store: The folder.
        inference: Owns the objects.
        period: Time from one look at the objects to the next, s.

    Raises:
        OSError: The folder cannot be made.
    """

    def __init__(self, node: LifecycleNode, store: ObjectStore, inference: InferenceThread[Any], period: float) -> None:
        self._node = node
        self._store = store
        self._inference = inference
        self._folder = store.folder / _FOLDER
        self._folder.mkdir(exist_ok=True)
        remove_leftovers(self._folder)
        self._written: dict[int, str] = {}  # id -> digest of the file that is there
        self._refused = ""
        self._failure = ""
        self._patience = max(_LATE * period, _PATIENCE)
        self._began: float | None = None  # monotonic s at which the save at work began
        self._restore()
        # Steady time: a paused simulation must not end it.
        self._timer = node.create_timer(period, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def problem(self) -> str:
        """Why objects of the last run are not tracked, or are not saved, in a sentence; empty where all is well."""
        began, late = self._began, ""
        if began is not None and (seconds := time.monotonic() - began) > self._patience:
            late = f"a save of the objects has not ended for {seconds:.0f} s: does the disk hang?"
        return "; ".join(filter(None, (self._refused, self._failure, late)))

    def finish(self, timeout: float) -> None:
        """Save the objects once more, for at most `timeout` s, and end (transition).

        What a disk that hangs has begun goes on without anybody who waits for it.
        """
        self._node.destroy_timer(self._timer)
        end = time.monotonic() + timeout
        try:
            objects = self._copied().result(timeout)
            self._store.submit(partial(self._write, objects)).result(max(0.0, end - time.monotonic()))
        except Exception as error:
            reason = str(error) or f"that takes more than {timeout:g} s"  # a timeout has no text
            self._node.get_logger().warning(legible(f"objects are not saved at the end: {reason}"))

    # --- at the start (transition) ------------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Look for the objects of the newest run, under their ids."""
        found = {int(m[1]): entry for entry in self._folder.iterdir() if (m := _FILE.fullmatch(entry.name))}
        used = max((object_id for object_id in found if object_id <= LARGEST_KEPT_ID), default=0)
        self._inference.submit(lambda session: session.stream.reserve_ids(used))
        refused, loaded = [], []
        for object_id in sorted(found)[:MOST_FILES]:
            try:
                saved = self._store.read_now(found[object_id])
                if saved.object_id != object_id:
                    raise SavedObjectError(f"It is of the object {saved.object_id}.")
                command = self._inference.submit(partial(Session.recall, saved=saved, keep_id=True))
                loaded.append(command.result())
            except (SavedObjectError, ObjectIdError, CapacityError, RefusedError) as error:
                refused.append(f"{found[object_id].name}: {error}")
            else:
                self._written[object_id] = _digest(saved)
        if refused:
            reasons = legible("; ".join(refused), 500)
            self._refused = f"{len(refused)} objects of the last autosave are not tracked: {reasons}"
            self._node.get_logger().warning(self._refused)
        if loaded:
            self._node.get_logger().info(f"looked for, from the last autosave: {', '.join(map(str, loaded))}")

    # --- every period -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Copy the objects, unless the last copy still waits for the disk (executor thread)."""
        if self._began is None:
            self._began = time.monotonic()
            self._copied().add_done_callback(self._hand_over)

    def _copied(self) -> Future[list[SavedObject]]:
        tracker = self._store.tracker
        return self._inference.submit(lambda session: session.saved_all(tracker))

    def _hand_over(self, copied: Future[list[SavedObject]]) -> None:
        """Let the thread of files write what was copied (inference thread)."""
        try:
            objects = copied.result()
            self._store.submit(partial(self._write, objects)).add_done_callback(self._done)
        except Exception as error:
            self._failed(error)

    def _write(self, objects: list[SavedObject]) -> None:
        """Write what has changed, and delete what is gone (thread of files).

        Raises:
            SavedObjectError: Some of it could not be done; the others were.
        """
        problems = []
        for saved in objects:
            try:
                digest = _digest(saved)
                if self._written.get(saved.object_id) != digest:
                    write_file(self._path(saved.object_id), to_bytes(saved), overwrite=True)
                    self._written[saved.object_id] = digest
            except SavedObjectError as error:
                problems.append(f"object {saved.object_id}: {error}")
        for object_id in self._written.keys() - {saved.object_id for saved in objects}:
            try:
                self._path(object_id).unlink(missing_ok=True)
                del self._written[object_id]
            except OSError as error:
                problems.append(
                    f"object {object_id} is gone, but its file cannot be deleted: {error.strerror or error}"
                )
        if problems:
            raise SavedObjectError("; ".join(problems))

    def _done(self, written: Future[None]) -> None:
        try:
            written.result()
        except Exception as error:
            self._failed(error)
        else:
            self._failure = ""
            self._began = None

    def _failed(self, error: Exception) -> None:
        failure = legible(f"objects are not saved: {error}", 500)
        if failure != self._failure and not isinstance(error, RefusedError):  # refused: the node was cleaned up
            self._failure = failure
            self._node.get_logger().warning(failure)
        self._began = None

    def _path(self, object_id: int) -> Path:
        return self._folder / f"{object_id}{SUFFIX}"


def _digest(saved: SavedObject) -> str:
    """Return a digest of what is saved, whenever that was and whatever the newest image's size."""
    return hashlib.sha256(to_bytes(replace(saved, date=_NO_DATE, image_size=(0, 0)))).hexdigest()
