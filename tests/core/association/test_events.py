"""Events: what is told of objects between two moments, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from sam_core import Prompt, Tracker, TrackState
from sam_core.association import (
    Ending,
    EventKind,
    ObjectStanding,
    Removal,
    Track,
    changes,
    endings,
    standings,
)
from tests.core.association.rectangles import track
from tests.core.pattern import frame

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


def test_only_a_double_goes_on_as_another() -> None:
    shared = {3: 2}
    tracks = {i: track(i, shared=shared) for i in (1, 2)}
    removed = {1: Removal.UNMATCHED, 2: Removal.DUPLICATE, 5: Removal.DUPLICATE}
    assert endings(tracks, removed) == {
        1: Ending("the detector did not confirm it"),
        2: Ending("an older object has the same detections", 3),
        5: Ending("an older object has the same detections"),  # nothing is known of it
    }


def test_the_reasons_say_what_changed() -> None:
    reasons = {
        (NEW, TRACKED): ["its concept has confirmed it"],
        (TRACKED, OCCLUDED): ["not seen for some images (occluded_after)"],
        (TRACKED, LOST): ["not seen for long (lost_after)"],
        (LOST, TRACKED): ["seen again"],
    }
    for (before, after), expected in reasons.items():
        events = changes({7: standing(before)}, {7: standing(after)}, {})
        assert [event.reason for event in events] == expected


def test_events_of_an_object_that_is_gone_tell_how_it_stood_before() -> None:
    before, after = standing(OCCLUDED, label="before"), standing(TRACKED, label="after")
    gone, found = changes({1: before, 2: before}, {2: after}, {})
    assert (gone.standing, found.standing) == (before, after)


def test_standings_are_what_stream_and_tracks_know(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream(max_objects=4)
    stream.step(frame(0), "first")
    for label in ("cup", "plate", "fork"):
        stream.add_prompt(Prompt(points=[[60, 45]]), label=label)
    stream.step(frame(1), "second")
    stream.add_prompt(Prompt(points=[[60, 45]]), object_id=3, renew=True)
    tracks = {1: track(1), 2: track(2, confirmed=True, concept="crockery"), 9: track(9)}
    expected = {
        1: ObjectStanding("cup", "cup", NEW, "second", 0),
        2: ObjectStanding("plate", "crockery", TRACKED, "second", 0),
        3: ObjectStanding("fork", "", TRACKED, "second", 1),
    }
    assert standings(stream, tracks) == expected
    assert standings(stream, tracks, tentative=False) == {i: expected[i] for i in (2, 3)}


def test_a_loaded_object_stands_as_awaited(micro_tracker: Tracker) -> None:
    first, second = micro_tracker.open_stream(), micro_tracker.open_stream()
    for stream in (first, second):
        stream.step(frame(0))
    first.add_prompt(Prompt(points=[[60, 45]]), label="cup")
    second.recall(first.memory_of(1))
    assert standings(second, {}) == {1: ObjectStanding("cup", "", LOST, None, -1, awaited=True)}
