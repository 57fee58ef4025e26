"""What associations need of each object beyond the frames at hand: its concept, and where it was seen last."""

from __future__ import annotations

from sam_core.association.matching import KnownObject
from sam_core.streaming import CroppedMask, Frame, FrameHistory, ObjectInfo, ObjectState, Stream


class TrackHistory:
    """Facts about the objects of one stream; belongs to the thread that owns the stream."""

    def __init__(self) -> None:
        self._concepts: dict[int, str] = {}  # object id -> key of the concept that it was found by
        self._last_seen: dict[int, CroppedMask] = {}  # id of an object that is not seen -> its last mask
        self._visible: frozenset[int] = frozenset()  # ids that were seen on the newest frame

    def observe(self, stream: Stream) -> frozenset[str]:
        """Take in the newest frame of the stream, after its step.

        Returns:
            Keys of the concepts of which an object was seen before and is not any more.
        """
        objects = stream.objects
        self._forget_removed(objects)
        visible = frozenset(info.object_id for info in objects if info.state is not ObjectState.ABSENT)
        gone = self._visible & {info.object_id for info in objects} - visible
        for object_id in gone:
            mask = _last_mask(stream.history, object_id, stream.mask_threshold)
            if mask is not None:
                self._last_seen[object_id] = mask
        self._visible = visible
        return frozenset(self._concepts[object_id] for object_id in gone if object_id in self._concepts)

    def found(self, object_id: int, concept: str, mask: CroppedMask) -> None:
        """Remember that an object was found by a concept, and where."""
        self._concepts[object_id] = concept
        self._last_seen[object_id] = mask
        self._visible |= {object_id}

    def known(self, stream: Stream, frame: Frame) -> list[KnownObject]:
        """Return where all objects of the stream are on a frame, which may have left the history."""
        objects = stream.objects
        self._forget_removed(objects)
        frame = stream.history.numbered(frame.number) or frame
        return [self._known(info, frame, stream) for info in objects]

    def _known(self, info: ObjectInfo, frame: Frame, stream: Stream) -> KnownObject:
        object_id, threshold = info.object_id, stream.mask_threshold
        concept = self._concepts.get(object_id, "")
        mask = frame.mask_of(object_id, threshold)
        if mask is None and info.state is ObjectState.ABSENT:
            return KnownObject(object_id, concept, self._last_seen.get(object_id), lost=True)
        return KnownObject(object_id, concept, mask or _nearest_mask(stream.history, object_id, frame, threshold))

    def _forget_removed(self, objects: tuple[ObjectInfo, ...]) -> None:
        ids = {info.object_id for info in objects}
        for object_id in (self._concepts.keys() | self._last_seen.keys()) - ids:
            self._concepts.pop(object_id, None)
            self._last_seen.pop(object_id, None)


def _last_mask(history: FrameHistory, object_id: int, threshold: float) -> CroppedMask | None:
    masks = (frame.mask_of(object_id, threshold) for frame in reversed(history.frames))
    return next((mask for mask in masks if mask is not None), None)


def _nearest_mask(history: FrameHistory, object_id: int, frame: Frame, threshold: float) -> CroppedMask | None:
    """Return an object's mask on the frame nearest in time on which it was seen."""
    nearest_first = sorted(history.frames, key=lambda other: abs(other.number - frame.number))
    masks = (other.mask_of(object_id, threshold) for other in nearest_first)
    return next((mask for mask in masks if mask is not None), None)
