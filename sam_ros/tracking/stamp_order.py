"""Whether an image whose stamp is older than its predecessor's is a late one, or the first of a new run of stamps."""

from __future__ import annotations

from enum import Enum

__all__ = ["Arrival", "StampOrder"]

# Images in a row that are older than the newest one: the last of them begins a new run, those before it are dropped.
RUN = 3


class Arrival(Enum):
    """What the stamp of an image says."""

    IN_ORDER = "as new as its predecessor, or newer"
    LATE = "older than its predecessor"
    NEW_RUN = "stamps went back"


class StampOrder:
    """Judge images by their stamps, in the order of their arrival.

    One image that is overtaken on its way is late: the next one is newer again. Where several in a row are older, the
    stamps themselves went back, by however much: a recording that is played in a loop, a simulator that restarted, a
    clock that was set. So a late image is dropped, and never more than two in a row. A stamp of zero is none: an image
    without a stamp is in order.
    """

    def __init__(self) -> None:
        self.newest: int | None = None
        self._older = 0  # images in a row that were older than the newest

    def judge(self, stamp: int) -> Arrival:
        """Judge the next image by its stamp in ns."""
        if not stamp:
            return Arrival.IN_ORDER
        if self.newest is None or stamp >= self.newest:
            self.newest, self._older = stamp, 0
            return Arrival.IN_ORDER
        self._older += 1
        if self._older < RUN:
            return Arrival.LATE
        self.newest, self._older = stamp, 0
        return Arrival.NEW_RUN

    def forget(self) -> None:
        """Begin anew: the node did not listen for a while."""
        self.newest, self._older = None, 0
