"""How much memory the requests take that wait or are being worked on, all of them together."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from sam_ros.tracking.work_queue import BusyError

__all__ = ["HeldMemory", "RequestMemory", "bytes_of"]

LIMIT = 512 * 2**20  # bytes
SMALL = 64 * 2**10  # bytes of a request that is always taken: queues bound how many of these there are
_OBJECT = 64  # bytes of a message or a number, about
_MANY = 100


class HeldMemory:
    """What one request takes."""

    def __init__(self, memory: RequestMemory) -> None:
        self._memory = memory
        self.size = 0

    def add(self, size: int) -> None:
        """Take `size` bytes more, until the request is answered.

        Raises:
            BusyError: All requests together would take more than they may. A small request, and one that is alone,
                always gets its memory: what one may take is bounded by itself.
        """
        self._memory.take(self, size)


class RequestMemory:
    """Bound the memory of requests. Any thread may call any method.

    Queues bound how many requests wait, but each may bring an image with it.

    Args:
        limit: Bound on what all requests take together, in bytes.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._held = 0

    @property
    def held(self) -> int:
        """What is taken, in bytes."""
        return self._held

    @contextmanager
    def hold(self, size: int) -> Iterator[HeldMemory]:
        """Take `size` bytes while a request waits or is worked on.

        Raises:
            BusyError: As `HeldMemory.add` says.
        """
        held = HeldMemory(self)
        held.add(size)
        try:
            yield held
        finally:
            with self._lock:
                self._held -= held.size

    def take(self, held: HeldMemory, size: int) -> None:
        """Take memory for a request (see `HeldMemory.add`)."""
        with self._lock:
            others = self._held - held.size
            if others and held.size + size > SMALL and self._held + size > self.limit:
                raise BusyError(
                    f"the tracker is busy: other requests hold {others / 2**20:.0f} MiB of images and masks, and at "
                    f"most {self.limit / 2**20:.0f} MiB may be held together; ask again later"
                )
            self._held += size
            held.size += size


def bytes_of(message: Any) -> int:
    """Return about how much memory a message takes, in bytes."""
    if isinstance(message, (str, bytes)):
        return len(message)
    if isinstance(message, array):
        return len(message) * message.itemsize
    if isinstance(message, np.ndarray):
        return message.nbytes
    if isinstance(message, Sequence):
        if len(message) > _MANY and not isinstance(message[0], str):  # points or boxes, all of one size
            return len(message) * bytes_of(message[0])
        return sum(map(bytes_of, message))
    fields: Iterable[str] = getattr(message, "get_fields_and_field_types", dict)()
    return _OBJECT + sum(bytes_of(getattr(message, name)) for name in fields)
