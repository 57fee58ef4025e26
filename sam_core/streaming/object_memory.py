"""What a stream remembers of an object for good, as a value that another stream can look for the object with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from sam_core.errors import CapacityError, ObjectIdError
from sam_core.streaming.frame_tracker import FrameTracker
from sam_core.streaming.memory import Observation, Slots
from sam_core.streaming.objects import ObjectVersion, TrackedObject
from sam_core.streaming.prompt import check_label
from sam_core.streaming.state import StreamState
from sam_core.streaming.track_state import TrackState, TrackStatus

__all__ = ["LARGEST_KEPT_ID", "ObjectMemory", "awaited", "first_and_newest", "memory_of", "recalled"]

LARGEST_KEPT_ID = 2**31  # of an object that brings its id: new objects get larger ones, and need as many
_UNSEEN = -10.0  # logit of being visible of an object that was not looked for yet


@dataclass(frozen=True, eq=False)
class ObjectMemory:
    """The conditioning memories of an object, on the CPU.

    Attributes:
        label: what the object is called.
        spatial: (K, h · w, c) spatial memories of its K conditioning frames, oldest first.
        pointers: (K, d) object pointers of these.
        references: what the postprocessors have to know of it, by the names of `MaskPostprocessor.saved_reference`.
    """

    label: str
    spatial: Tensor
    pointers: Tensor
    references: Mapping[str, Tensor] = field(default_factory=dict)


def memory_of(tracker: FrameTracker, target: TrackedObject) -> ObjectMemory:
    """Copy the conditioning memories of an object; those of a correction that catches up are included."""
    version, bank = target.latest, tracker.bank
    table = version.index.conditioning
    slots = [table.slot_of(frame) for frame in table.before(version.frame + 1)]
    return ObjectMemory(
        target.label,
        bank.spatial[version.row, slots].cpu(),
        bank.pointers[version.row, slots].cpu(),
        tracker.named_references(version),
    )


def first_and_newest(count: int, most: int) -> list[int]:
    """Return which of `count` memories, oldest first, are kept where `most` fit: the first, and the newest others."""
    return list(range(count)) if count <= most else [0, *range(count - most + 1, count)]


def recalled(
    tracker: FrameTracker, state: StreamState, memory: ObjectMemory, object_id: int | None, max_objects: int
) -> TrackedObject:
    """Write the memories of an object to a free row, and return the object, which no stream has yet.

    Where it has more memories than the stream keeps, the first and the newest of the others are taken.

    Args:
        tracker: the network and its memories.
        state: of the stream.
        memory: of the object.
        object_id: its id; None for a new one.
        max_objects: capacity of the stream.

    Raises:
        CapacityError: all places are taken.
        ObjectIdError: the id is taken, or none.
        PromptError: its label is no label.
        ValueError: the memories do not fit to the network.
    """
    check_label(memory.label)
    keeps_id = object_id is not None
    if len(state.objects) >= max_objects:
        raise CapacityError(f"All {max_objects} places are taken: remove an object, or raise max_objects.")
    object_id = state.new_id() if object_id is None else object_id
    if object_id in state.objects:
        raise ObjectIdError(f"The id {object_id} is taken by another object: remove that, or take a new id.")
    if keeps_id and not 1 <= object_id <= LARGEST_KEPT_ID:
        raise ObjectIdError(f"An id that is kept is a number from 1 to {LARGEST_KEPT_ID}, not {object_id}.")
    bank, count = tracker.bank, len(memory.spatial)
    if not count or memory.spatial.shape[1:] != bank.spatial.shape[2:]:
        raise ValueError("The memories do not fit to this network.")
    kept = first_and_newest(count, bank.empty_index.conditioning.capacity)
    row, index = state.free_row(bank.rows), bank.empty_index
    for number in range(len(kept)):
        index, _ = index.remember(number, conditioning=True, spatial=True)
    slots = [Slots(slot, slot) for slot in map(index.conditioning.slot_of, range(len(kept)))]
    maps = memory.spatial[kept].transpose(1, 2).unflatten(2, tracker.network.memory_shape[1:])
    device = tracker.network.device
    bank.write([row] * len(kept), slots, maps.to(device), memory.pointers[kept].to(device))
    version = ObjectVersion(
        row, index, state.newest, _unseen(state.newest), references=tracker.references_from(memory.references)
    )
    return awaited(TrackedObject(object_id, memory.label, shown=version), state.newest)


def awaited(target: TrackedObject, newest: int) -> TrackedObject:
    """Return an object that is looked for from frame `newest` + 1 on, by its conditioning memories alone."""
    version = replace(target.latest, last_seen=_unseen(newest), suppressed=False, empty=False, recalled=True)
    status = TrackStatus(TrackState.LOST, awaited=True)
    return TrackedObject(target.object_id, target.label, shown=version.awaiting(newest), status=status)


def _unseen(frame: int) -> Observation:
    return Observation(frame, predicted_iou=0.0, object_score=_UNSEEN, prompted=False)
