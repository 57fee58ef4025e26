"""An object's life as values: its two versions, what is shown of it, and the state of all objects of a stream."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from sam_core import UnknownObjectError
from sam_core.streaming import ObjectPhase, ObjectState
from sam_core.streaming.history import Frame, FrameHistory
from sam_core.streaming.memory import MemoryIndex, Observation
from sam_core.streaming.objects import ObjectVersion, TrackedObject, score_of, state_of
from sam_core.streaming.state import StreamState
from sam_core.streaming.track_state import TrackState, TrackStatus

INDEX = MemoryIndex.empty(conditioning=2, recent=3, pointers=4)
STATUS = TrackStatus(TrackState.OCCLUDED, "stamp")
KNOWN: Any = "what is known of an object on a frame"


def seen(frame: int, score: float = 2.0) -> Observation:
    return Observation(frame, predicted_iou=0.75, object_score=score, prompted=False)


def version(frame: int, row: int = 0, **more: Any) -> ObjectVersion:
    return ObjectVersion(**{"row": row, "index": INDEX, "first_frame": 0, "last_seen": seen(frame), **more})


# --- Versions ---------------------------------------------------------------------------------------------------------


def test_a_version_is_shown_at_once_if_it_was_prompted_on_the_newest_frame() -> None:
    before = TrackedObject(3, "cup", shown=version(7), upcoming=version(2))
    now, late = version(7, row=1), version(5, row=1)
    assert before.prompted(now, "", 7, STATUS) == TrackedObject(3, "cup", shown=now, status=STATUS)
    assert before.prompted(late, "mug", 7, STATUS) == TrackedObject(3, "mug", before.shown, late, STATUS)


def test_a_step_carries_the_version_that_is_shown() -> None:
    before = TrackedObject(3, "cup", shown=version(7), upcoming=version(2))
    assert before.tracked(version(8), STATUS) == replace(before, shown=version(8), status=STATUS)


def test_an_upcoming_version_is_shown_once_it_has_arrived() -> None:
    before = TrackedObject(3, "cup", shown=version(7), upcoming=version(2), status=STATUS)
    assert before.carried(version(6), until=7) == replace(before, upcoming=version(6))
    assert before.carried(version(7, row=1), until=7) == replace(before, shown=version(7, row=1), upcoming=None)


def test_the_latest_version_knows_of_the_newest_prompt() -> None:
    shown, upcoming = version(7), version(2)
    both, new, old = (
        TrackedObject(3, "", shown, upcoming),
        TrackedObject(3, "", upcoming=upcoming),
        TrackedObject(3, "", shown),
    )
    assert (both.latest, new.latest, old.latest) == (upcoming, upcoming, shown)
    assert (both.versions, new.versions, old.versions) == ((shown, upcoming), (upcoming,), (shown,))
    assert [one.phase for one in (both, new, old)] == [
        ObjectPhase.CORRECTING,
        ObjectPhase.CATCHING_UP,
        ObjectPhase.SHOWN,
    ]


def test_a_version_names_its_frame_and_its_memory() -> None:
    one = version(7, row=4)
    assert (one.frame, one.memory) == (7, (4, INDEX))
    assert (one.suppressed, one.empty, one.references) == (False, False, ())


def test_while_an_object_is_awaited_its_conditioning_frames_stand_just_before_the_next_one() -> None:
    index = INDEX
    for frame in (3, 5):
        index, _ = index.remember(frame, conditioning=True, spatial=True)
    index, _ = index.remember(6, conditioning=False, spatial=True)
    waiting = version(6, index=index).awaiting(40)
    assert waiting.index.conditioning.frames == (38, 39)
    assert (waiting.index.recent.used, waiting.index.pointers.used) == (0, 0)
    assert (waiting.first_frame, waiting.frame) == (39, 6)


# --- What is told of an object ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "suppressed", "empty", "state", "shown_score"),
    [
        (2.0, False, False, ObjectState.TRACKED, 2.0),
        (2.0, False, True, ObjectState.NO_MASK, 2.0),
        (2.0, True, False, ObjectState.ABSENT, -2.0),
        (0.0, False, False, ObjectState.ABSENT, 0.0),
        (-2.0, False, True, ObjectState.ABSENT, -2.0),
        (-2.0, True, False, ObjectState.ABSENT, -2.0),
        (1e-3, False, False, ObjectState.TRACKED, 1e-3),
    ],
)
def test_an_object_is_seen_above_a_logit_of_0_and_where_nothing_hides_it(
    score: float, suppressed: bool, empty: bool, state: ObjectState, shown_score: float
) -> None:
    assert state_of(seen(7, score), suppressed, empty) is state
    assert score_of(seen(7, score), suppressed) == shown_score


def test_the_facts_are_those_of_the_version_that_is_shown() -> None:
    shown = version(7, first_frame=4, empty=True)
    info = TrackedObject(3, "cup", shown, version(2, suppressed=True), STATUS).info(9)
    assert (info.object_id, info.label, info.phase, info.status) == (3, "cup", ObjectPhase.CORRECTING, STATUS)
    assert (info.first_frame, info.frames_behind, info.state) == (4, 2, ObjectState.NO_MASK)
    assert (info.predicted_iou, info.presence) == (0.75, pytest.approx(1 / (1 + math.exp(-2.0))))


def test_before_a_version_is_shown_the_facts_are_those_of_the_upcoming_one() -> None:
    info = TrackedObject(3, "", upcoming=version(2, first_frame=1, suppressed=True)).info(9)
    assert (info.first_frame, info.frames_behind, info.state) == (1, 7, ObjectState.ABSENT)
    assert info.presence == pytest.approx(1 / (1 + math.exp(2.0)))


@pytest.mark.parametrize(("score", "presence"), [(-1e6, 0.0), (1e6, 1.0), (0.0, 0.5)])
def test_presence_is_a_probability_whatever_the_logit(score: float, presence: float) -> None:
    info = TrackedObject(3, "", version(2, last_seen=seen(2, score))).info(2)
    assert info.presence == pytest.approx(presence)


# --- The state of a stream --------------------------------------------------------------------------------------------


def history(*numbers: int) -> FrameHistory:
    features: Any = None
    return FrameHistory(9, 2**30, frames=tuple(Frame(number, number, (2, 2), features) for number in numbers))


def objects(**rows: tuple[int, ...]) -> dict[int, TrackedObject]:
    """Return objects by the name `of_<id>`, each with versions in rows: the one that is shown, and an upcoming one."""
    ids = {int(name.removeprefix("of_")): given for name, given in rows.items()}
    return {
        i: TrackedObject(i, "", version(7, given[0]), version(2, given[1]) if len(given) > 1 else None)
        for i, given in ids.items()
    }


def test_a_state_names_its_newest_frame_and_who_is_behind() -> None:
    state = StreamState(history(3, 4), objects(of_1=(0,), of_2=(1, 2)))
    assert (state.newest, [one.object_id for one in state.behind]) == (4, [2])
    assert StreamState(history()).newest == -1
    assert (StreamState(history()).next_id, dict(StreamState(history()).objects)) == (1, {})


def test_an_unknown_object_is_told_with_those_that_are_known() -> None:
    state = StreamState(history(3), objects(of_4=(0,), of_9=(1,)))
    assert state.find(9) is state.objects[9]
    with pytest.raises(UnknownObjectError, match=r"^There is no object 7; tracked are: 4, 9\.$"):
        state.find(7)
    with pytest.raises(UnknownObjectError, match=r"^There is no object 7; tracked are: none\.$"):
        StreamState(history()).find(7)


def test_a_free_row_is_the_first_that_no_version_uses() -> None:
    state = StreamState(history(3), objects(of_4=(1,), of_9=(3, 0)))
    assert state.free_row(5) == 2
    assert StreamState(history()).free_row(1) == 0


def test_a_new_object_takes_its_place_by_its_id_and_ids_go_on_from_the_highest() -> None:
    state = StreamState(history(3, 4), objects(of_4=(0,), of_9=(1,)), next_id=10)
    more = state.with_object(TrackedObject(6, "", version(4, 2)), {4: KNOWN, 99: KNOWN})
    assert (list(more.objects), more.next_id) == ([4, 6, 9], 10)
    assert [dict(frame.objects) for frame in more.history.frames] == [{}, {6: KNOWN}]
    assert more.with_object(TrackedObject(10, ""), {}).next_id == 11
    assert more.with_object(TrackedObject(50, ""), {}).next_id == 51
    changed = TrackedObject(6, "renamed", version(4, 2))
    assert more.with_objects([changed]).objects == {**more.objects, 6: changed}
    assert list(more.with_objects([changed]).objects) == [4, 6, 9]


def test_a_removed_object_leaves_no_trace() -> None:
    state = StreamState(history(3, 4), objects(of_4=(0,)), 7).with_object(TrackedObject(6, ""), {4: KNOWN})
    less = state.without(6)
    assert (list(less.objects), less.next_id) == ([4], 7)
    assert [dict(frame.objects) for frame in less.history.frames] == [{}, {}]


def test_the_spatial_memories_of_both_versions_are_counted() -> None:
    held = INDEX
    for frame, conditioning in ((0, True), (1, False), (2, False)):
        held, _ = held.remember(frame, conditioning=conditioning, spatial=True)
    twice = TrackedObject(1, "", version(2, index=held), version(2, index=held))
    state = StreamState(history(3), {1: twice, 2: TrackedObject(2, "", version(2, index=held))})
    assert state.used_slots() == 9
