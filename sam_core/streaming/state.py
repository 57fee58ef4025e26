"""All that a stream knows, as one immutable value. A change makes a new one, and is exchanged whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sam_core.errors import CapacityError, UnknownObjectError
from sam_core.streaming.history import FrameHistory, ObjectOnFrame
from sam_core.streaming.objects import ObjectVersion, TrackedObject

LARGEST_ID = 2**32 - 1  # an id is an unsigned number of 32 bits in messages


@dataclass(frozen=True, eq=False)
class StreamState:
    """The state of a stream, but for the tensors of the memory bank, of which it holds the index.

    Attributes:
        history: the newest frames.
        objects: the objects by id, in the order of their ids.
        next_id: id of the next object.
    """

    history: FrameHistory
    objects: Mapping[int, TrackedObject] = field(default_factory=dict)
    next_id: int = 1

    @property
    def newest(self) -> int:
        """Number of the newest frame; -1 before the first."""
        return -1 if self.history.newest is None else self.history.newest.number

    @property
    def behind(self) -> list[TrackedObject]:
        """Objects of which a version has to catch up."""
        return [target for target in self.objects.values() if target.upcoming is not None]

    def new_id(self) -> int:
        """Return the id of the next object.

        Raises:
            CapacityError: there is none left: an object with a very large id was loaded.
        """
        if self.next_id > LARGEST_ID:
            raise CapacityError(f"All ids up to {LARGEST_ID} were used: begin a new stream.")
        return self.next_id

    def find(self, object_id: int) -> TrackedObject:
        """Return an object.

        Raises:
            UnknownObjectError: there is no such object.
        """
        try:
            return self.objects[object_id]
        except KeyError:
            known = ", ".join(map(str, self.objects)) or "none"
            raise UnknownObjectError(f"There is no object {object_id}; tracked are: {known}.") from None

    def free_row(self, rows: int) -> int:
        """Return a row of a bank of `rows` that no version uses."""
        used = {version.row for target in self.objects.values() for version in target.versions}
        return next(row for row in range(rows) if row not in used)

    def with_object(self, target: TrackedObject, known: Mapping[int, ObjectOnFrame]) -> StreamState:
        """Return a state with a new or changed object, and with what is known of it on frames, by number."""
        return replace(
            self,
            history=self.history.with_objects(target.object_id, known),
            objects=dict(sorted({**self.objects, target.object_id: target}.items())),
            next_id=max(self.next_id, target.object_id + 1),
        )

    def with_objects(self, targets: Iterable[TrackedObject]) -> StreamState:
        """Return a state with changed objects."""
        return replace(self, objects={**self.objects, **{target.object_id: target for target in targets}})

    def without(self, object_id: int) -> StreamState:
        """Return a state without an object."""
        objects = {key: target for key, target in self.objects.items() if key != object_id}
        return replace(self, history=self.history.without(object_id), objects=objects)

    def used_slots(self) -> int:
        """Return the number of spatial memories that versions hold."""
        versions: Iterable[ObjectVersion] = (v for target in self.objects.values() for v in target.versions)
        return sum(version.index.spatial_used for version in versions)
