"""What happened to the objects of a stream from one moment to a later one, as events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sam_core.association.hot_start import Removal
from sam_core.association.tracks import Track
from sam_core.streaming import Stream, TrackState

__all__ = ["Ending", "EventKind", "ObjectEvent", "ObjectStanding", "changes", "endings", "standings"]


class EventKind(Enum):
    """What happened to an object."""

    APPEARED = "appeared"
    CONFIRMED = "confirmed"
    OCCLUDED = "occluded"
    LOST = "lost"
    FOUND = "found"
    MERGED = "merged"
    REMOVED = "removed"


@dataclass(frozen=True)
class Ending:
    """Why an object is not tracked any more.

    Attributes:
        reason: in a few words.
        other_id: the object that it was a double of, which goes on; 0 for none.
    """

    reason: str
    other_id: int = 0


@dataclass(frozen=True)
class ObjectStanding:
    """What events are about.

    Attributes:
        label: what the object is called.
        concept: key of the concept that found it; empty for none.
        state: how its track stands.
        last_seen: stamp of the newest frame on which it was seen; None for none.
        first_frame: number of the frame on which it began, or was renewed.
        awaited: whether it is looked for by a memory, as after a loading, and is not found yet.
    """

    label: str
    concept: str
    state: TrackState
    last_seen: Any
    first_frame: int
    awaited: bool = False


@dataclass(frozen=True)
class ObjectEvent:
    """Something happened to an object.

    Attributes:
        kind: what.
        object_id: to which object.
        standing: how it stands after that; where it is gone, before.
        reason: why, in a few words.
        other_id: the object that goes on, with `MERGED`; 0 otherwise.
    """

    kind: EventKind
    object_id: int
    standing: ObjectStanding
    reason: str
    other_id: int = 0


def standings(stream: Stream, tracks: Mapping[int, Track], *, tentative: bool = True) -> dict[int, ObjectStanding]:
    """Return how the objects of a stream stand, by id.

    Args:
        stream: the stream.
        tracks: its objects that were found by a concept.
        tentative: whether objects that may still be withdrawn count.
    """
    found = {}
    for info in stream.objects:
        track, status = tracks.get(info.object_id), info.status
        unsure = track is not None and not track.confirmed
        if unsure and not tentative:
            continue
        state = TrackState.TENTATIVE if unsure else status.state
        concept = "" if track is None else track.concept
        found[info.object_id] = ObjectStanding(
            info.label, concept, state, status.last_seen, info.first_frame, status.awaited
        )
    return found


def endings(tracks: Mapping[int, Track], removed: Mapping[int, Removal]) -> dict[int, Ending]:
    """Say why tracks end; `tracks` are as they were before the search that ends them."""
    found = {}
    for object_id, removal in removed.items():
        shared = tracks[object_id].shared if object_id in tracks else {}
        other = max(shared, key=shared.__getitem__, default=0) if removal is Removal.DUPLICATE else 0
        found[object_id] = Ending(removal.value, other)
    return found


def changes(
    before: Mapping[int, ObjectStanding], after: Mapping[int, ObjectStanding], ended: Mapping[int, Ending]
) -> list[ObjectEvent]:
    """Return what happened in between, in the order of the objects' ids.

    Args:
        before: how the objects stood, by id.
        after: how they stand.
        ended: why those that are gone are so, as far as that is known.
    """
    events = []
    for object_id in sorted({*before, *after}):
        old, new = before.get(object_id), after.get(object_id)
        if new is None:
            assert old is not None
            ending = ended.get(object_id, Ending("removed"))
            kind = EventKind.MERGED if ending.other_id else EventKind.REMOVED
            events.append(ObjectEvent(kind, object_id, old, ending.reason, ending.other_id))
        elif old is None:
            events.append(ObjectEvent(EventKind.APPEARED, object_id, new, _beginning(new)))
        else:
            events += [ObjectEvent(kind, object_id, new, reason) for kind, reason in _transitions(old, new)]
    return events


def _beginning(new: ObjectStanding) -> str:
    if new.awaited:
        return "remembered from before, and looked for"
    return f"found by the concept {new.concept!r}" if new.concept else "prompted"


def _transitions(old: ObjectStanding, new: ObjectStanding) -> list[tuple[EventKind, str]]:
    """Return the kinds of events, with reasons, of an object that is there before and after."""
    if old.state is new.state or new.state is TrackState.TENTATIVE:
        return []
    found: list[tuple[EventKind, str]] = []
    before = old.state
    if before is TrackState.TENTATIVE:
        found.append((EventKind.CONFIRMED, "its concept has confirmed it"))
        before = TrackState.TRACKED
    if new.state is TrackState.OCCLUDED:
        found.append((EventKind.OCCLUDED, "not seen for some images (occluded_after)"))
    elif new.state is TrackState.LOST:
        found.append((EventKind.LOST, "not seen for long (lost_after)"))
    elif before is not TrackState.TRACKED:
        found.append(
            (EventKind.FOUND, "seen for the first time since it is looked for" if old.awaited else "seen again")
        )
    return found
