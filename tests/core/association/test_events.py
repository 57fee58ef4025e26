"""Events: what is told of objects between two moments, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from sam_core import TrackState
from sam_core.association import Ending, EventKind, ObjectStanding, Removal, Track, changes, endings

TRACKED, OCCLUDED, LOST, NEW = TrackState.TRACKED, TrackState.OCCLUDED, TrackState.LOST, TrackState.TENTATIVE


def standing(state: TrackState, **more: Any) -> ObjectStanding:
    return ObjectStanding(**{"label": "cup", "concept": "", "last_seen": 1, "first_frame": 0, **more}, state=state)


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (TRACKED, TRACKED, []),
        (TRACKED, OCCLUDED, ["occluded"]),
        (OCCLUDED, LOST, ["lost"]),
        (TRACKED, LOST, ["lost"]),
        (OCCLUDED, TRACKED, ["found"]),
        (LOST, TRACKED, ["found"]),
        (NEW, NEW, []),
        (NEW, TRACKED, ["confirmed"]),
        (NEW, OCCLUDED, ["confirmed", "occluded"]),
        (NEW, LOST, ["confirmed", "lost"]),
        (TRACKED, NEW, []),
    ],
)
def test_transitions(before: TrackState, after: TrackState, kinds: list[str]) -> None:
    events = changes({7: standing(before)}, {7: standing(after)}, {})
    assert [event.kind.value for event in events] == kinds
    assert all(event.object_id == 7 and event.reason and event.standing.state is after for event in events)


def test_objects_come_and_go_with_reasons() -> None:
    before = {1: standing(TRACKED), 2: standing(NEW, concept="cup"), 3: standing(OCCLUDED)}
    after = {4: standing(TRACKED), 5: standing(NEW, concept="red cup"), 6: standing(LOST, awaited=True)}
    ended = {1: Ending("removed by a client"), 2: Ending(Removal.DUPLICATE.value, 1)}
    told = [(event.kind, event.object_id, event.other_id, event.reason) for event in changes(before, after, ended)]
    assert told == [
        (EventKind.REMOVED, 1, 0, "removed by a client"),
        (EventKind.MERGED, 2, 1, "an older object has the same detections"),
        (EventKind.REMOVED, 3, 0, "removed"),
        (EventKind.APPEARED, 4, 0, "prompted"),
        (EventKind.APPEARED, 5, 0, "found by the concept 'red cup'"),
        (EventKind.APPEARED, 6, 0, "remembered from before, and looked for"),
    ]


def test_who_was_loaded_and_is_seen_is_told_so() -> None:
    (event,) = changes({6: standing(LOST, awaited=True)}, {6: standing(TRACKED)}, {})
    assert (event.kind, event.reason) == (EventKind.FOUND, "seen for the first time since it is looked for")


def test_a_double_goes_on_as_the_object_that_it_shared_most_detections_with() -> None:
    double = Track(9, "cup", 0, 0.5, 0, shared={3: 2, 4: 7})
    removed = {9: Removal.DUPLICATE, 4: Removal.LEFT}
    assert endings({9: double}, removed) == {
        9: Ending("an older object has the same detections", 4),
        4: Ending("it was not seen for long"),
    }
