"""The folder of saved objects: files are read and written in a thread of their own, whatever the disk does."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from sam_core import SavedObjectError
from sam_core.saved_objects import (
    SUFFIX,
    SavedObject,
    check_fit,
    from_bytes,
    read_file,
    remove_leftovers,
    to_bytes,
    write_file,
)
from sam_core.streaming import Tracker
from sam_ros.tracking.work_queue import BusyError, StoppedError

__all__ = ["MOST_FILES", "ObjectStore"]

R = TypeVar("R")

MOST_FILES = 256  # that one call reads; a tracker has no more places than that
_WAITING = 64  # jobs that wait for the disk
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,74}\.safetensors")


class ObjectStore:
    """Read and write the files of saved objects in one folder. Any thread may call any method.

    Args:
        folder: The folder; it is made if it does not exist.
        tracker: The weights that make and read memories.

    Raises:
        OSError: The folder cannot be made.
    """

    def __init__(self, folder: Path, tracker: Tracker) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        self.folder = folder
        self.tracker = tracker
        self._weights = tracker.weights_digest  # computed now: later a frame would wait for it
        self._jobs: queue.Queue[tuple[Callable[[], Any], Future[Any]] | None] = queue.Queue(_WAITING)
        self._closed = False
        threading.Thread(target=self._run, name="object files", daemon=True).start()

    def close(self) -> None:
        """End the thread after the jobs that wait; further ones are refused."""
        self._closed = True
        try:
            self._jobs.put_nowait(None)
        except queue.Full:  # the disk hangs, and the thread with it; it ends when the jobs are done
            threading.Thread(target=self._jobs.put, args=(None,), daemon=True).start()

    def submit(self, job: Callable[[], R]) -> Future[R]:
        """Run a job in the thread of files.

        Raises:
            BusyError: Too many wait already.
            StoppedError: The node was cleaned up.
        """
        if self._closed:
            raise StoppedError("the tracker was stopped")
        future: Future[R] = Future()
        try:
            self._jobs.put_nowait((job, future))
        except queue.Full:
            raise BusyError(f"{_WAITING} files wait for the disk already; ask again later") from None
        return future

    def write(self, saved: SavedObject, name: str, *, overwrite: bool) -> Future[str]:
        """Write an object; the result is the name of its file.

        Args:
            saved: The object.
            name: The first part of the file's name (`check_name`); empty for the object's label.
            overwrite: Whether an existing file is replaced.
        """
        stem = name or re.sub(r"[^A-Za-z0-9_-]+", "_", saved.memory.label).strip("_")[:64] or "object"
        file = f"{stem}_{saved.object_id}{SUFFIX}"

        def job() -> str:
            write_file(self.folder / file, to_bytes(saved), overwrite=overwrite)
            return file

        return self.submit(job)

    def read(self, file: str) -> Future[SavedObject]:
        """Read an object that fits to the tracker; the future fails with SavedObjectError.

        Raises:
            SavedObjectError: That is no name of a file in the folder.
        """
        if not _FILE.fullmatch(file):
            raise SavedObjectError(f"A file is named NAME_ID{SUFFIX}, without its folder; {file!r:.100} is not.")
        return self.submit(lambda: self.read_now(self.folder / file))

    def read_now(self, path: Path) -> SavedObject:
        """Read an object that fits to the tracker (thread of files, or a transition).

        Raises:
            SavedObjectError: It cannot be read, or does not fit.
        """
        saved = from_bytes(read_file(path))
        check_fit(saved, self.tracker)
        return saved

    def files(self) -> Future[list[str]]:
        """List the files of saved objects in the folder; the future fails with SavedObjectError."""

        def job() -> list[str]:
            try:
                found = sorted(entry.name for entry in self.folder.iterdir() if _FILE.fullmatch(entry.name))
            except OSError as error:
                raise SavedObjectError(f"The folder cannot be read: {error.strerror or error}.") from error
            if not found:
                raise SavedObjectError("There are no saved objects in the folder.")
            if len(found) > MOST_FILES:
                raise SavedObjectError(f"There are {len(found)} files in the folder: name at most {MOST_FILES}.")
            return found

        return self.submit(job)

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            try:
                result = job()
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del item, job, future


def check_name(name: str) -> None:
    """Refuse what is no first part of a file's name.

    Raises:
        SavedObjectError: It has other characters than are allowed, or too many.
    """
    if name and not _NAME.fullmatch(name):
        raise SavedObjectError(
            "A name has at most 64 letters, digits, '-', '_' and '.', and does not begin with '.'; "
            f"{name!r:.100} is no such name."
        )
