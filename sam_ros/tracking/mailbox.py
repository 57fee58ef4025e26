"""A slot for one frame between the thread that receives and the thread that computes."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

__all__ = ["Mailbox"]

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Hold at most one item; a newer one replaces an unread one.

    A tracker that is slower than the camera thus always works on the newest frame, and its latency stays bounded.
    Any thread may call any method.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: T | None = None

    def put(self, item: T) -> T | None:
        """Store an item and return the unread one that it replaces, or None when the slot was empty."""
        with self._lock:
            replaced, self._item = self._item, item
        return replaced

    def take(self) -> T | None:
        """Empty the slot and return what was in it, or None."""
        with self._lock:
            item, self._item = self._item, None
        return item
