"""Write and read files whole or not at all: temporary file and rename, no links, bounded in size."""

from __future__ import annotations

import errno
import os
import stat
import time
import uuid
from contextlib import suppress
from pathlib import Path

from sam_core.errors import SavedObjectError
from sam_core.saved_objects.format import LARGEST_FILE

__all__ = ["read_file", "remove_leftovers", "write_file"]

_TEMPORARY = ".saving-"  # prefix of files that are being written
_LEFT = 600.0  # s after which nobody writes such a file any more
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # FAT and exFAT have none


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes have begun to write into a folder, as far as that is possible."""
    with suppress(OSError):
        for entry in folder.iterdir():
            if entry.name.startswith(_TEMPORARY) and time.time() - entry.lstat().st_mtime > _LEFT:
                entry.unlink()


def write_file(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file: the whole of it is there, or the one that was there before.

    Args:
        path: the file; its folder exists.
        data: its content.
        overwrite: whether an existing file is replaced.

    Raises:
        SavedObjectError: it exists and is not to be replaced, or it cannot be written.
    """
    temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                os.replace(temporary, path)
            else:
                _move_to_new(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError as error:
        raise SavedObjectError(f"The file {path.name} exists already: choose another name, or overwrite it.") from error
    except OSError as error:
        raise SavedObjectError(f"The file {path.name} cannot be written: {error.strerror or error}.") from error


def _move_to_new(source: Path, path: Path) -> None:
    """Give a file another name, unless there is one of that name."""
    try:
        os.link(source, path)  # unlike a rename it fails where the file exists
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))  # the name is ours from here on
        try:
            os.replace(source, path)
        except OSError:
            path.unlink()
            raise


def read_file(path: Path) -> bytes:
    """Read a file of a saved object.

    Raises:
        SavedObjectError: there is none, it is a link or no regular file, it is too large, or it cannot be read.
    """
    try:
        # Nothing is followed, and what never ends (a pipe) is not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise SavedObjectError("There is no such file.") from error
    except OSError as error:
        reason = "it is a link" if path.is_symlink() else error.strerror or str(error)
        raise SavedObjectError(f"It cannot be read: {reason}.") from error
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise SavedObjectError("It is not a regular file.")
    with open(descriptor, "rb") as file:
        if facts.st_size > LARGEST_FILE:
            raise SavedObjectError(f"It has {facts.st_size} bytes; at most {LARGEST_FILE} are read.")
        try:
            data = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise SavedObjectError(f"It cannot be read: {error.strerror or error}.") from error
    if len(data) > LARGEST_FILE:
        raise SavedObjectError(f"It has more than {LARGEST_FILE} bytes.")
    return data
