"""The whole state of a stream and its tracks as one value: to go on in another process with the same numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sam_core.association.concept_tracker import ConceptTracker
from sam_core.isolation import inference
from sam_core.streaming import Stream
from sam_core.streaming.state import StreamState

__all__ = ["StreamSnapshot", "count_skipped", "restore", "take_snapshot"]

_NO_STATE = ("stream", "rules")  # attributes of a concept tracker


@dataclass(frozen=True, eq=False)
class StreamSnapshot:
    """What a stream and the tracks of its concepts know; it can be pickled.

    Attributes:
        state: of the stream.
        spatial: (rows, slots, h * w, c) the bank's spatial memories, on the CPU.
        pointers: (rows, slots, d) the bank's object pointers, on the CPU.
        concepts: attributes of the concept tracker.
    """

    state: StreamState
    spatial: Tensor
    pointers: Tensor
    concepts: dict[str, Any]


@inference
def take_snapshot(tracker: ConceptTracker) -> StreamSnapshot:
    """Copy everything that the next frame depends on."""
    stream = tracker.stream
    bank = stream._tracker.bank
    concepts = {name: value for name, value in vars(tracker).items() if name not in _NO_STATE}
    return StreamSnapshot(
        stream._state, bank.spatial.detach().cpu().clone(), bank.pointers.detach().cpu().clone(), concepts
    )


@inference
def restore(tracker: ConceptTracker, snapshot: StreamSnapshot) -> None:
    """Go on from a snapshot, in a stream of the same network and settings; the tensors come to its device.

    Raises:
        ValueError: the stream has a memory bank of another size.
    """
    bank = tracker.stream._tracker.bank
    if bank.spatial.shape != snapshot.spatial.shape or bank.pointers.shape != snapshot.pointers.shape:
        raise ValueError("The snapshot is of a stream with another model or other settings.")
    bank.spatial.copy_(snapshot.spatial)
    bank.pointers.copy_(snapshot.pointers)
    tracker.stream._state = _moved(snapshot.state, tracker.stream.device, {})
    for name, value in snapshot.concepts.items():
        setattr(tracker, name, value)


def _moved(value: Any, device: torch.device, done: dict[int, Tensor]) -> Any:
    """Return a value with all of its tensors on a device; a part without tensors stays the same thing.

    Args:
        value: made of dataclasses, tuples and dictionaries.
        device: the device.
        done: what was moved, by the id of what it was: tensors that are one stay one.
    """
    if isinstance(value, Tensor):
        return done.setdefault(id(value), value.to(device))
    if is_dataclass(value) and not isinstance(value, type):
        before = {one.name: getattr(value, one.name) for one in fields(value)}
        after = {name: _moved(part, device, done) for name, part in before.items()}
        changed = {name: part for name, part in after.items() if part is not before[name]}
        return replace(value, **changed) if changed else value
    if isinstance(value, tuple):
        parts = tuple(_moved(part, device, done) for part in value)
        return parts if any(one is not other for one, other in zip(parts, value, strict=True)) else value
    if isinstance(value, dict):
        return {key: _moved(part, device, done) for key, part in value.items()}
    return value


def count_skipped(stream: Stream, frames: int) -> None:
    """Number a stream's first frame as if other frames without objects had gone before it.

    Frames without objects change nothing else, so they need not be encoded. Which frames a memory policy takes may
    depend on their numbers.

    Args:
        stream: has seen one frame, and has no objects.
        frames: that went before.

    Raises:
        ValueError: it has seen more.
    """
    state = stream._state
    newest = state.history.newest
    if newest is None or newest.number != 0 or state.objects:
        raise ValueError("Frames can be skipped only before the first frame of a stream without objects.")
    history = replace(state.history, frames=(replace(newest, number=frames),))
    stream._state = replace(state, history=history)
