"""What was seen lately: the newest images and where each object was on them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_core.concepts.masks import CroppedMask
from sam_core.concepts.matching import KnownObject
from sam_core.streaming import ObjectInfo, ObjectState


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """An image that was tracked.

    Attributes:
        number: counts the frames, from 0.
        stamp: the stamp that it was tracked under.
        image: (H, W, 3) uint8 RGB; nobody writes to it.
        source: what the caller wants back with it, for instance a message header.
        masks: objects that were seen on it, by id; grows when a prompt is answered on this frame later.
    """

    number: int
    stamp: Any
    image: NDArray[np.uint8]
    source: Any = None
    masks: dict[int, CroppedMask] = field(default_factory=dict)

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) in px."""
        return self.image.shape[0], self.image.shape[1]


class Sightings:
    """A ring of the newest frames, and what is remembered of objects beyond it.

    Any thread may ask for frames; what concerns objects belongs to the thread that owns the stream.

    Args:
        capacity: frames to keep, at least one. An image is kept as it is handed over, not copied.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"at least one frame must be kept, not {capacity}")
        self._lock = threading.Lock()
        self._frames: deque[SeenFrame] = deque(maxlen=capacity)
        self._concepts: dict[int, str] = {}  # object id -> key of the concept that it was found by
        self._last_seen: dict[int, CroppedMask] = {}  # object id -> its newest mask that was not empty
        self._visible: set[int] = set()  # ids that were seen when they were last looked at

    def push(
        self, stamp: Any, image: NDArray[np.uint8], masks: Mapping[int, CroppedMask | None], source: Any = None
    ) -> frozenset[str]:
        """Take in a frame that was tracked.

        Args:
            stamp: its stamp.
            image: (H, W, 3) uint8 RGB; must not change any more.
            masks: where each object is that was looked for on it, by id; None for one that was not seen.
            source: comes back with the frame.

        Returns:
            Keys of the concepts of which an object was seen when it was last looked at, and is not on this frame.
        """
        seen = {object_id: mask for object_id, mask in masks.items() if mask is not None and mask.area}
        with self._lock:
            number = self._frames[-1].number + 1 if self._frames else 0
            self._frames.append(SeenFrame(number, stamp, image, source, seen))
        self._last_seen.update(seen)
        gone = self._visible & (masks.keys() - seen.keys())
        self._visible = (self._visible | seen.keys()) - gone
        return frozenset(self._concepts[object_id] for object_id in gone if object_id in self._concepts)

    def __len__(self) -> int:
        """Return the number of frames at hand."""
        return len(self._frames)

    @property
    def newest(self) -> SeenFrame | None:
        """The newest frame; None before the first."""
        with self._lock:
            return self._frames[-1] if self._frames else None

    @property
    def oldest(self) -> SeenFrame | None:
        """The oldest frame at hand; None before the first."""
        with self._lock:
            return self._frames[0] if self._frames else None

    def with_stamp(self, stamp: Any) -> SeenFrame | None:
        """Find the newest frame of a stamp."""
        with self._lock:
            return next((frame for frame in reversed(self._frames) if frame.stamp == stamp), None)

    def note(self, stamp: Any, object_id: int, mask: CroppedMask, concept: str | None = None) -> None:
        """Remember where a prompt has put an object.

        Args:
            stamp: of the frame that was prompted.
            object_id: the object.
            mask: its mask there, of the same size as that frame.
            concept: key of the concept that it was found by; None leaves that as it is.
        """
        frame = self.with_stamp(stamp)
        if frame is not None and mask.area:
            frame.masks[object_id] = mask
        if mask.area:
            self._last_seen.setdefault(object_id, mask)
            self._visible.add(object_id)
        if concept is not None:
            self._concepts[object_id] = concept

    def forget(self, object_id: int) -> None:
        """Forget an object that is tracked no longer; frames keep where it was."""
        self._concepts.pop(object_id, None)
        self._last_seen.pop(object_id, None)
        self._visible.discard(object_id)

    def known(self, objects: Sequence[ObjectInfo], frame: SeenFrame) -> list[KnownObject]:
        """Tell where objects are on a frame.

        Args:
            objects: all objects of the stream, as they are now.
            frame: the frame in question; it may have left the ring.
        """
        return [self._known(info, frame) for info in objects]

    def _known(self, info: ObjectInfo, frame: SeenFrame) -> KnownObject:
        concept = self._concepts.get(info.object_id, "")
        mask = frame.masks.get(info.object_id)
        if mask is None and info.state is ObjectState.ABSENT:
            return KnownObject(info.object_id, concept, self._last_seen.get(info.object_id), lost=True)
        return KnownObject(info.object_id, concept, mask or self._nearest(info.object_id, frame))

    def _nearest(self, object_id: int, frame: SeenFrame) -> CroppedMask | None:
        """Return an object's mask on the frame nearest in time on which it was seen."""
        with self._lock:
            others = [other for other in self._frames if object_id in other.masks]
        nearest = min(others, key=lambda other: abs(other.number - frame.number), default=None)
        return None if nearest is None else nearest.masks[object_id]
