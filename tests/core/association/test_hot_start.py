"""What searches do to tracks: counts go up and down by one, and every bound is met exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sam_core.association import RELEASED, Match, Removal, Survey, Track, survey
from tests.core.association.rectangles import track

EMPTY = Match((), (), (), (), (), {}, ())
OLD = {"confirmed": True}


def after(*tracks: Track, now: int = 0, scores: tuple[float, ...] = (0.5,), rules: Any = None, **seen: Any) -> Survey:
    """Survey tracks after a search; `seen` are fields of its match."""
    return survey(tracks, replace(EMPTY, **seen), scores, now, replace(RELEASED, **(rules or {})))


# --- Scores and counts ------------------------------------------------------------------------------------------------


def test_a_track_has_the_score_of_its_best_detection_and_keeps_it_where_there_is_none() -> None:
    result = after(track(1), track(2), matched=((0,), (0,), ()), scores=(0.25, 0.125, 1.0))
    assert [one.score for one in result.tracks] == [0.25, 0.9]


@pytest.mark.parametrize(
    ("before", "seen", "rules", "expected"),
    [
        (10, {"matched": ((0,),)}, {}, 11),
        (10, {"unmatched": (0,)}, {}, 9),
        (10, {}, {}, 10),
        (10, {"empty": (0,)}, {}, 10),
        (10, {"empty": (0,)}, {"empty_counts_as_unmatched": True}, 9),
        (10, {}, {"empty_counts_as_unmatched": True}, 10),
        (10, {"matched": ((0,),), "unmatched": (0,)}, {}, 10),  # on it, but by less than `unmatched_iou`
        (29, {"matched": ((0,),)}, {}, 30),
        (30, {"matched": ((0,),)}, {}, 30),
        (30, {"matched": ((0,),)}, {"keep_alive_most": 40}, 31),
        (0, {"unmatched": (0,)}, {}, -1),
        (-1, {"unmatched": (0,)}, {}, -1),
        (-1, {"unmatched": (0,)}, {"keep_alive_least": -2}, -2),
    ],
)
def test_keep_alive(before: int, seen: dict[str, Any], rules: dict[str, Any], expected: int) -> None:
    (one,) = after(track(1, keep_alive=before, **OLD), rules=rules, **seen).tracks
    assert one.keep_alive == expected


@pytest.mark.parametrize(
    ("seen", "unmatched", "not_seen"),
    [({}, 2, 0), ({"unmatched": (0,)}, 3, 0), ({"empty": (0,)}, 2, 5), ({"matched": ((0,),)}, 2, 0)],
)
def test_searches_without_a_detection_and_without_a_mask_are_counted(
    seen: dict[str, Any], unmatched: int, not_seen: int
) -> None:
    (one,) = after(track(1, unmatched=2, not_seen=4, **OLD), **seen).tracks
    assert (one.unmatched, one.not_seen) == (unmatched, not_seen)


# --- Hot start --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hot_start", "now", "confirmed"), [(15, 19, False), (15, 20, True), (15, 99, True), (0, 5, True), (1, 5, False)]
)
def test_a_track_is_confirmed_when_its_hot_start_is_over(hot_start: int, now: int, confirmed: bool) -> None:
    (one,) = after(track(1, born=5), now=now, rules={"hot_start": hot_start}).tracks
    assert one.confirmed is confirmed


@pytest.mark.parametrize(
    ("before", "born", "more", "removed"),
    [
        (6, 0, {}, {}),
        (7, 0, {}, {1: Removal.UNMATCHED}),
        (8, 0, {}, {1: Removal.UNMATCHED}),
        (7, -20, {}, {}),  # its hot start is over
        (7, 0, OLD, {}),
    ],
)
def test_a_tentative_track_is_withdrawn_on_its_eighth_unmatched_search(
    before: int, born: int, more: dict[str, Any], removed: Any
) -> None:
    assert after(track(1, born, unmatched=before, **more), unmatched=(0,)).removed == removed


def test_who_was_unmatched_too_often_is_withdrawn_also_on_a_search_that_matches_it() -> None:
    assert after(track(1, unmatched=8), matched=((0,),)).removed == {1: Removal.UNMATCHED}


@pytest.mark.parametrize(("before", "removed"), [(6, {}), (7, {2: Removal.DUPLICATE}), (8, {2: Removal.DUPLICATE})])
def test_a_tentative_track_is_withdrawn_when_it_shared_eight_detections(before: int, removed: Any) -> None:
    result = after(track(1, 0), track(2, 1, shared={1: before}), matched=((0, 1),))
    assert result.removed == removed


def test_detections_shared_with_different_tracks_do_not_add_up() -> None:
    result = after(track(1, **OLD), track(2, **OLD), track(3, 1, shared={1: 7, 2: 7}), now=1)
    assert [dict(one.shared) for one in result.tracks] == [{}, {}, {1: 7, 2: 7}]


def test_the_oldest_of_those_that_share_a_detection_is_the_one_that_others_are_doubles_of() -> None:
    young, old, middle = track(1, born=4), track(2, born=2), track(3, born=3)
    result = after(young, old, middle, now=4, matched=((0, 1, 2), (0, 2), (1,), ()), scores=(0.5,) * 4)
    assert [dict(one.shared) for one in result.tracks] == [{2: 1, 3: 1}, {}, {2: 1}]


def test_of_two_that_began_together_the_first_is_the_older() -> None:
    result = after(track(4), track(7), matched=((0, 1),))
    assert [dict(one.shared) for one in result.tracks] == [{}, {4: 1}]


def test_two_detections_that_are_shared_in_one_search_count_twice() -> None:
    result = after(track(1), track(2, 1, shared={1: 3}), now=1, matched=((0, 1), (0, 1)), scores=(0.5, 0.5))
    assert dict(result.tracks[1].shared) == {1: 5}


def test_of_tracks_that_are_gone_no_count_is_kept() -> None:
    result = after(track(1), track(2, 1, shared={1: 2, 99: 5}), now=1)
    assert dict(result.tracks[1].shared) == {1: 2}


def test_a_confirmed_track_counts_no_shared_detections() -> None:
    result = after(track(1, **OLD), track(2, 1, shared={1: 99}, **OLD), matched=((0, 1),))
    assert (result.removed, dict(result.tracks[1].shared)) == ({}, {})


# --- Leaving and hiding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "leave_after", "removed"),
    [(1, 3, {}), (2, 3, {1: Removal.LEFT}), (3, 3, {1: Removal.LEFT}), (0, 1, {1: Removal.LEFT}), (999, 0, {})],
)
def test_a_track_leaves_after_so_many_searches_without_a_mask(before: int, leave_after: int, removed: Any) -> None:
    rules = {"leave_after": leave_after}
    assert after(track(1, not_seen=before, **OLD), empty=(0,), rules=rules).removed == removed
    assert after(track(1, -99, not_seen=before), empty=(0,), rules=rules).removed == removed


def test_the_first_reason_that_holds_is_told() -> None:
    rules = {"leave_after": 1, "hot_start_unmatched": 1, "hot_start_duplicate": 1}
    first = track(1, **OLD)
    assert after(first, track(2, unmatched=1, shared={1: 1}), empty=(1,), rules=rules).removed[2] is Removal.UNMATCHED
    assert after(first, track(2, shared={1: 1}), empty=(1,), rules=rules).removed[2] is Removal.DUPLICATE
    assert after(first, track(2), empty=(1,), rules=rules).removed[2] is Removal.LEFT


def test_who_ends_is_left_out_and_those_after_it_are_surveyed_all_the_same() -> None:
    result = after(track(1, unmatched=7), track(2), track(3, unmatched=7), track(4), unmatched=(0, 1, 2, 3))
    assert list(result.removed) == [1, 3]
    assert [(one.object_id, one.unmatched) for one in result.tracks] == [(2, 1), (4, 1)]


@pytest.mark.parametrize(
    ("keep_alive", "unmatched", "hide", "hidden"),
    [(0, 1, True, {1}), (-1, 1, True, {1}), (1, 1, True, set()), (0, 0, True, set()), (0, 1, False, set())],
)
def test_a_track_is_hidden_while_it_was_unmatched_more_often_than_it_was_matched(
    keep_alive: int, unmatched: int, hide: bool, hidden: set[int]
) -> None:
    result = after(track(1, keep_alive=keep_alive, unmatched=unmatched, **OLD), rules={"hide_unmatched": hide})
    assert result.hidden == hidden


def test_who_ends_is_not_hidden() -> None:
    rules = {"hide_unmatched": True}
    result = after(track(1, keep_alive=-1, unmatched=9), track(2, keep_alive=-1, unmatched=3), rules=rules)
    assert (list(result.removed), result.hidden) == ([1], {2})
