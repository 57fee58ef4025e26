"""A session: its commands, and the events that it tells, with the real, small model in this thread."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from std_msgs.msg import Header

from sam_core import NoFrameError, Prompt, StampError, Tracker, TrackState, UnknownObjectError, build_tracker
from sam_core.association import ConceptDetections, ConceptResult, ConceptTracker, EventKind, FollowedConcept
from sam_core.streaming import TrackRules
from sam_ros.conversions.stamps import to_time
from sam_ros.tracking.session import Session

SECOND = 10**9
CLICK = Prompt(points=[[5, 5]])
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    torch.manual_seed(0)
    return build_tracker("sam2.1_micro", device="cpu")


@pytest.fixture
def session(tracker: Tracker) -> Session:
    return Session(tracker.open_stream(max_objects=4, stamp_tolerance=0.1 * SECOND))


def header(second: int) -> Header:
    return Header(stamp=to_time(second * SECOND), frame_id="camera")


def step(session: Session, second: int) -> ConceptResult:
    return session.step(PICTURE, second * SECOND, header(second))


def told(session: Session) -> list[tuple[str, int, str, Header]]:
    return [(event.kind.value, event.object_id, event.reason, at) for event, at in session.take_events()]


def find_cup(concepts: ConceptTracker, *given: Any) -> ConceptResult:
    """Step as a detector does that finds a cup in the upper left corner."""
    mask = torch.full((1, 32, 32), -5.0)
    mask[:, 4:12, 4:12] = 5.0
    found = ConceptDetections("cup", torch.tensor([0.75]), mask)
    return concepts.step(*given, concepts=[FollowedConcept("cup")], detect=lambda *_: [found])


def find_nothing(concepts: ConceptTracker, *given: Any) -> ConceptResult:
    nothing = ConceptDetections("cup", torch.zeros(0), torch.zeros(0, 32, 32))
    return concepts.step(*given, concepts=[FollowedConcept("cup")], detect=lambda *_: [nothing])


# --- Steps ------------------------------------------------------------------------------------------------------------


def test_a_step_is_the_concept_trackers_or_the_one_of_whoever_drives(session: Session) -> None:
    outcome = step(session, 1)
    assert (outcome.result.stamp, outcome.searched) == (SECOND, ())
    assert session.stream.history.frame_at().source == header(1)
    session.drive = find_cup
    outcome = step(session, 2)
    assert (outcome.result.stamp, outcome.searched, outcome.born) == (2 * SECOND, ("cup",), (1,))
    assert session.stream.history.frame_at().source == header(2)


def test_objects_that_may_be_withdrawn_are_left_out_of_results_if_they_are_not_to_be_shown(session: Session) -> None:
    session.drive = find_cup
    assert session.shows_tentative
    step(session, 1)
    session.add_prompt(CLICK, None, "clicked")
    session.shows_tentative = False
    outcome = step(session, 2)
    assert (outcome.result.object_ids, list(outcome.tracks)) == ((2,), [1])
    session.concepts.release("cup")  # nothing withdraws it any more
    session.drive = None
    assert step(session, 3).result.object_ids == (1, 2)


# --- Frames by their stamps -------------------------------------------------------------------------------------------


def test_a_frame_is_found_by_its_stamp(session: Session) -> None:
    with pytest.raises(NoFrameError):
        session.frame_at(None)
    for second in (1, 2, 3):
        step(session, second)
    assert [session.frame_at(stamp).number for stamp in (None, 2 * SECOND, 2 * SECOND + 5)] == [2, 1, 1]
    assert session.frame_at(9 * SECOND, or_newest=True).number == 2
    with pytest.raises(
        StampError,
        match=r"^the image of 9\.000000000 s was not processed, or too long ago; the oldest at hand has the stamp "
        r"1\.000000000 s, the newest processed image has the stamp 3\.000000000 s\. A stamp of zero means the newest",
    ):
        session.frame_at(9 * SECOND)


def test_a_prompt_may_take_the_newest_frame_where_none_has_its_stamp(session: Session) -> None:
    step(session, 1)
    late = replace(CLICK, stamp=9 * SECOND)
    with pytest.raises(StampError, match=r"^the image of 9\.000000000 s was not processed"):
        session.add_prompt(late, None, "cup")
    answer = session.add_prompt(late, None, "cup", or_newest=True)
    assert (answer.object_ids, answer.labels, answer.stamp) == ((1,), ("cup",), SECOND)
    corrected = session.add_prompt(CLICK, 1, "mug")
    assert (corrected.object_ids, corrected.labels) == ((1,), ("mug",))


# --- Events -----------------------------------------------------------------------------------------------------------


def test_events_are_told_once_with_the_image_in_which_they_were_noticed(session: Session) -> None:
    """An object appears on the image that it was prompted on; what happens later is told of the newest image."""
    assert told(session) == []
    for second in (1, 2):
        step(session, second)
    session.add_prompt(replace(CLICK, stamp=1 * SECOND), None, "cup")
    session.add_prompt(CLICK, None, "mug")
    assert told(session) == [("appeared", 1, "prompted", header(1)), ("appeared", 2, "prompted", header(2))]
    assert told(session) == []
    step(session, 3)
    session.remove(1, "removed by a client")
    session.reset("reset by a client")
    assert told(session) == [
        ("removed", 1, "removed by a client", header(3)),
        ("removed", 2, "reset by a client", header(3)),
    ]
    assert session.stream.objects == ()


def test_what_nobody_gave_a_reason_for_was_removed(session: Session) -> None:
    step(session, 1)
    session.add_prompt(CLICK, None, "")
    told(session)
    session.stream.remove(1)
    assert told(session) == [("removed", 1, "removed", header(1))]


def test_a_reason_is_that_of_one_removal_alone(session: Session) -> None:
    step(session, 1)
    session.add_prompt(CLICK, None, "")
    told(session)
    session.remove(1, "removed by a client")
    told(session)
    assert session._ended == {}
    with pytest.raises(UnknownObjectError):
        session.remove(1, "again")
    assert session._ended == {}


def test_the_image_of_an_object_that_began_long_ago_is_the_newest(tracker: Tracker) -> None:
    session = Session(tracker.open_stream(max_objects=2, history_frames=2))
    step(session, 1)
    session.add_prompt(CLICK, None, "")
    for second in (2, 3, 4):
        step(session, second)
    assert told(session) == [("appeared", 1, "prompted", header(4))]


def test_before_the_first_image_events_have_an_empty_header(session: Session, tracker: Tracker) -> None:
    step(session, 1)
    session.add_prompt(CLICK, None, "cup")
    other = Session(tracker.open_stream(max_objects=2))
    assert other.recall(session.saved(1, tracker), keep_id=False) == 1
    assert told(other) == [("appeared", 1, "remembered from before, and looked for", Header())]


def test_tentative_objects_appear_once_they_are_confirmed_if_they_are_not_to_be_shown(session: Session) -> None:
    session.drive, session.shows_tentative = find_cup, False
    step(session, 1)
    assert told(session) == []
    session.concepts.release()
    assert told(session) == [("appeared", 1, "found by the concept 'cup'", header(1))]


def test_why_a_search_ended_a_track_is_told(session: Session) -> None:
    session.drive = find_cup
    step(session, 1)
    assert told(session) == [("appeared", 1, "found by the concept 'cup'", header(1))]
    (one,) = session.concepts.tracks.values()
    session.concepts.tracks = {1: replace(one, unmatched=99)}
    session.drive = find_nothing
    step(session, 2)
    assert told(session) == [("removed", 1, "the detector did not confirm it", header(2))]


def test_the_standing_of_an_object_is_told_with_its_state(session: Session) -> None:
    session.stream.track_rules = TrackRules(occluded_after=1)
    step(session, 1)
    session.add_prompt(CLICK, None, "cup")
    ((event, _),) = session.take_events()
    assert (event.kind, event.standing.state, event.standing.label) == (EventKind.APPEARED, TrackState.TRACKED, "cup")


# --- Objects that are saved and loaded --------------------------------------------------------------------------------


def test_saved_objects_keep_their_concept_and_are_looked_for_by_it(session: Session, tracker: Tracker) -> None:
    session.drive = find_cup
    step(session, 1)
    session.drive = None
    session.add_prompt(CLICK, None, "clicked")
    assert [one.object_id for one in session.saved_all(tracker)] == [2], "the cup may still be withdrawn"
    session.concepts.adopt(1, "cup")
    cup, clicked = session.saved_all(tracker)
    assert [(one.object_id, one.concept, one.memory.label) for one in (cup, clicked)] == [
        (1, "cup", "cup"),
        (2, "", "clicked"),
    ]
    other = Session(tracker.open_stream(max_objects=4))
    assert [other.recall(one, keep_id=True) for one in (clicked, cup)] == [2, 1]
    assert {i: (track.concept, track.confirmed) for i, track in other.concepts.tracks.items()} == {1: ("cup", True)}
    assert other.recall(clicked, keep_id=False) == 3
    with pytest.raises(UnknownObjectError):
        session.saved(9, tracker)


# --- Clicks -----------------------------------------------------------------------------------------------------------


def test_a_click_on_the_mask_of_an_object_corrects_it(session: Session) -> None:
    step(session, 1)
    left = np.zeros((48, 64), bool)
    left[:, :32] = True
    session.add_prompt(Prompt(mask=left), None, "")
    assert session.click(50.0, 20.0) == (2, True)
    session.remove(2, "")
    assert session.click(10.0, 20.0) == (1, False)
    session.remove(1, "")
    session.stream.mask_threshold = 1e9
    session.add_prompt(Prompt(mask=left), None, "")
    assert session.click(10.0, 20.0) == (4, True), "no mask is above the threshold"


def test_a_click_is_one_positive_point_on_the_clicked_image(session: Session) -> None:
    for second in (1, 2, 3):
        step(session, second)
    assert session.click(20.0, 30.0, stamp=2 * SECOND) == (1, True)
    clicks = session.stream.history.frames[1].objects[1].clicks
    assert clicks is not None
    assert (clicks.points.tolist(), clicks.labels.tolist(), clicks.box) == ([[20.0, 30.0]], [1], None)
    with pytest.raises(NoFrameError):
        Session(session.stream.__class__(session.stream._network, session.stream._settings)).click(1.0, 1.0)
