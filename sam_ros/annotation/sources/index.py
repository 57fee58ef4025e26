"""The images of a recording in the order in which a node would process them, as numbers: what a source reads by."""

from __future__ import annotations

import hashlib
import math
from array import array
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sam_ros.annotation.errors import AnnotationError
from sam_ros.conversions.encodings import RgbImage
from sam_ros.tracking.stamp_order import Arrival, StampOrder

__all__ = ["FrameIndex", "FrameSource", "IndexBuilder", "Problems", "Window"]

_MOST_NAMED = 100  # problems that are kept with their text; the others are counted


@dataclass
class Problems:
    """What could not be used, in sentences, and how often.

    Attributes:
        count: How many there were.
        texts: The first ones.
    """

    count: int = 0
    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Count a problem; the first hundred keep their text."""
        self.count += 1
        if len(self.texts) < _MOST_NAMED:
            self.texts.append(text)


@dataclass(frozen=True)
class Window:
    """Which images are wanted.

    Attributes:
        start: First moment: seconds after the first image.
        end: Last moment, likewise; infinity for all.
        every: Take every n-th image.
    """

    start: float = 0.0
    end: float = math.inf
    every: int = 1

    def __post_init__(self) -> None:
        """Refuse a window that holds nothing."""
        if not 0 <= self.start < self.end:
            raise AnnotationError(f"The range from {self.start:g} s to {self.end:g} s is empty.")
        if self.every < 1:
            raise AnnotationError(f"Every n-th image needs a number of at least 1, not {self.every}.")


@dataclass(frozen=True)
class FrameIndex:
    """N images; row k is frame k.

    Attributes:
        stamps: (N,) int64 header stamps in ns.
        times: (N,) int64 when each was recorded, ns.
        places: (N, 2) int64, where the source finds the image.
        frame_ids: (N,) int32, row of `names`.
        names: The distinct `frame_id`s.
    """

    stamps: NDArray[np.int64]
    times: NDArray[np.int64]
    places: NDArray[np.int64]
    frame_ids: NDArray[np.int32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.stamps)

    def header(self, frame: int) -> tuple[int, str]:
        """Return stamp (ns) and `frame_id` of a frame, as they were recorded."""
        return int(self.stamps[frame]), self.names[int(self.frame_ids[frame])]

    def nearest(self, stamp: int, tolerance: int) -> int | None:
        """Return the frame whose stamp is nearest to one in ns; None where none is within the tolerance (ns)."""
        if not len(self):
            return None
        distance = np.abs(self.stamps - stamp)
        frame = int(distance.argmin())
        return frame if int(distance[frame]) <= tolerance else None

    def digest(self) -> str:
        """Return a fingerprint of stamps, places and names."""
        arrays = (self.stamps, self.times, self.places, self.frame_ids)
        parts = [numbers.tobytes() for numbers in arrays] + [repr(self.names).encode()]
        return hashlib.sha256(b"".join(parts)).hexdigest()


class IndexBuilder:
    """Build an index image by image, by the rules by which the node takes images.

    An image older than its predecessor is late and left out; the third in a row begins a new run of stamps.

    Args:
        window: Which images are wanted.
        problems: Where late images are told.
    """

    def __init__(self, window: Window, problems: Problems) -> None:
        self._window = window
        self._problems = problems
        self._order = StampOrder()
        self._first: int | None = None
        self._taken = 0
        self._stamps, self._times, self._places, self._frame_ids = array("q"), array("q"), array("q"), array("i")
        self._names: dict[str, int] = {}

    def add(self, stamp: int, frame_id: str, place: tuple[int, int], time: int) -> None:
        """Take the next image of the recording in.

        Args:
            stamp: Of its header, ns.
            frame_id: Of its header.
            place: Where the source finds it.
            time: When it was recorded, ns.
        """
        newest = self._order.newest
        if self._order.judge(stamp) is Arrival.LATE:
            assert newest is not None
            self._problems.add(
                f"The image of {stamp / 1e9:.3f} s is older than its predecessor of {newest / 1e9:.3f} s; left out, "
                "as the node does."
            )
            return
        if self._first is None:
            self._first = stamp
        if not self._window.start <= (stamp - self._first) / 1e9 <= self._window.end:
            return
        self._taken += 1
        if (self._taken - 1) % self._window.every:
            return
        self._stamps.append(stamp)
        self._times.append(time)
        self._places.extend(place)
        self._frame_ids.append(self._names.setdefault(frame_id, len(self._names)))

    def finish(self) -> FrameIndex:
        """Return the index."""
        return FrameIndex(
            np.array(self._stamps, np.int64),
            np.array(self._times, np.int64),
            np.array(self._places, np.int64).reshape(-1, 2),
            np.array(self._frame_ids, np.int32),
            tuple(self._names),
        )


class FrameSource(Protocol):
    """A recording that gives its images in any order.

    Attributes:
        name: What to call it in messages.
        index: Its images.
        problems: What of it could not be used.
    """

    name: str
    index: FrameIndex
    problems: Problems

    def image(self, frame: int) -> RgbImage:
        """Return an image as uint8 RGB (H, W, 3).

        Neighbours of the previous one, in either direction, are read fast.

        Raises:
            ImageError: It cannot be decoded.
        """

    def close(self) -> None:
        """Close its files."""
