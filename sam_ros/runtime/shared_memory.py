"""Shared memory that dead processes left behind.

Fast DDS reserves a segment in /dev/shm for every process, and a process that is killed cannot give it back. Beside each
segment lies a lock file, on which its process holds an exclusive `flock` for life: where the lock is free, the process
is dead. Fast DDS' own tool (`fastdds shm clean`) decides in the same way; the wheels from PyPI do not have it.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Removed", "remove_stale_segments"]

FOLDER = Path("/dev/shm")
_LOCK = re.compile(r"((?:fastdds|fastrtps)_[0-9a-f]{16})_el")  # segments alone, not the ports, which are small
_SETTLED = 10.0  # s: a process creates its lock file first and locks it then


@dataclass(frozen=True)
class Removed:
    """What was removed.

    Attributes:
        segments: how many.
        bytes: memory that they took.
    """

    segments: int = 0
    bytes: int = 0


def remove_stale_segments(folder: Path = FOLDER, settled: float = _SETTLED) -> Removed:
    """Remove the segments of this user's dead processes; whatever cannot be touched is left alone.

    Args:
        folder: Where segments lie.
        settled: Age of a lock file in s from which it counts; a younger one may be about to be locked.
    """
    segments, freed = 0, 0
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:  # no shared memory on this machine
        return Removed()
    for name in names:
        if match := _LOCK.fullmatch(name):
            with suppress(OSError):  # of a living process, or removed by another one meanwhile
                freed += _remove(folder / match[1], folder / name, settled)
                segments += 1
    return Removed(segments, freed)


def _remove(segment: Path, lock: Path, settled: float) -> int:
    """Remove a segment if its process is dead; return the memory that it took, in bytes.

    Raises:
        OSError: It is in use, young, or belongs to somebody else.
    """
    file = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        facts = os.fstat(file)
        if facts.st_uid != os.geteuid() or time.time() - facts.st_mtime < settled:
            raise PermissionError(f"{lock} is not ours, or may be in use")
        size = segment.stat().st_blocks * 512 if segment.exists() else 0
        segment.unlink(missing_ok=True)
        lock.unlink()
        return size
    finally:
        os.close(file)
