"""The plan of a search, one rule a test: what each detection is, and what becomes of the tracks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from sam_core.association import (
    LIVE,
    RELEASED,
    Association,
    ConceptDetections,
    Decision,
    Known,
    Removal,
    SearchPlan,
    Track,
    plan_search,
)
from tests.core.association.rectangles import NOTHING, box, cups, masks, track

SQUARE = box(0, 0, 10, 10)  # 100 places
HALF = box(0, 0, 10, 5)  # IoU with the square: 50 / 100
ELSEWHERE = box(12, 12, 18, 18)
CORNERS = [box(x, y, x + 4, y + 4) for x, y in ((0, 0), (8, 0), (16, 0), (0, 8), (8, 8), (16, 8))]

NEW, UNSURE = Decision(Association.NEW), Decision(Association.UNSURE)
FULL, EMPTY = Decision(Association.LIMIT_REACHED), Decision(Association.EMPTY)


def tracked(object_id: int) -> Decision:
    return Decision(Association.TRACKED, object_id)


def back(object_id: int) -> Decision:
    return Decision(Association.REIDENTIFIED, object_id)


def plan(
    found: ConceptDetections, *known: tuple[Track, Tensor], rules: Any = None, search: Any = None, **more: Any
) -> SearchPlan:
    """Plan a search of known tracks under the live rules, where nothing is said otherwise.

    Args:
        found: detections.
        known: tracks with their masks.
        rules: fields of the rules.
        search: arguments of `plan_search`.
        more: fields of `Known`.
    """
    tracks, on_frame = [one for one, _ in known], masks(*(mask for _, mask in known))
    context = Known(**{"tracks": tracks, "masks": on_frame, "scores": [5.0] * len(tracks), **more})
    settings = {"now": 1, "places": 9, "at_any_score": False, **(search or {})}
    return plan_search(found, context, replace(LIVE, **(rules or {})), **settings)


# --- What a detection is ----------------------------------------------------------------------------------------------


def test_what_overlaps_a_track_is_that_track() -> None:
    result = plan(cups((0.6, SQUARE), (0.9, ELSEWHERE)), (track(3), ELSEWHERE), (track(8), HALF))
    assert result.decisions == (tracked(8), tracked(3))
    assert (result.births, dict(result.twins), dict(result.reidentified)) == ((), {}, {})


def test_what_is_on_nothing_is_new_from_its_score_on() -> None:
    result = plan(cups((0.75, CORNERS[0]), (0.7, CORNERS[1])), rules={"new_score": 0.75})
    assert (result.decisions, result.births) == ((NEW, UNSURE), (0,))


def test_while_nothing_is_tracked_every_score_begins_a_track_if_asked() -> None:
    found = cups((0.55, SQUARE))
    assert plan(found, search={"at_any_score": True}).births == (0,)
    assert plan(found, search={"at_any_score": False}).births == ()


def test_an_empty_mask_is_nothing_whatever_its_score() -> None:
    result = plan(cups((0.9, NOTHING), (0.9, SQUARE), (0.9, NOTHING * 0)), search={"at_any_score": True})
    assert (result.decisions, result.births) == ((EMPTY, NEW, EMPTY), (1,))


def test_an_unsure_mask_is_one() -> None:
    unsure = box(0, 0, 10, 10, 0.5)
    assert plan(cups((0.9, unsure))).decisions == (NEW,)
    assert plan(cups((0.9, unsure)), others=[7], other_masks=masks(unsure)).decisions == (tracked(7),)
    assert dict(plan(cups((0.9, unsure), (0.8, unsure))).twins) == {1: 0}


def test_no_detections_are_no_decisions() -> None:
    result = plan(cups(), (track(1), SQUARE))
    assert (result.decisions, result.births, result.out_of_places) == ((), (), False)
    assert [(one.object_id, one.unmatched) for one in result.tracks] == [(1, 1)]


# --- Objects of another origin ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("match_iou", "expected"), [(0.5, tracked(7)), (0.51, NEW)])
def test_what_overlaps_an_object_of_another_origin_is_that_object(match_iou: float, expected: Decision) -> None:
    other = {"others": [7], "other_masks": masks(SQUARE)}
    result = plan(cups((0.9, HALF)), rules={"match_iou": match_iou}, **other)
    assert result.decisions == (expected,)
    assert plan(cups((0.9, HALF)), rules={"across_concepts": False}, **other).decisions == (NEW,)


def test_of_several_others_the_one_that_is_overlapped_most_is_meant() -> None:
    result = plan(cups((0.6, HALF)), others=[5, 7, 9], other_masks=masks(ELSEWHERE, box(0, 0, 10, 6), SQUARE))
    assert result.decisions == (tracked(7),)


def test_a_track_of_the_concept_goes_before_an_object_of_another_origin() -> None:
    result = plan(
        cups((0.9, NOTHING), (0.9, HALF), (0.9, ELSEWHERE)),
        (track(1), SQUARE),
        others=[7],
        other_masks=masks(HALF),
    )
    assert result.decisions == (EMPTY, tracked(1), NEW)


def test_without_others_every_free_detection_is_new() -> None:
    assert plan(cups((0.9, SQUARE)), other_masks=masks()).decisions == (NEW,)
    assert plan(cups((0.9, SQUARE)), other_masks=None).decisions == (NEW,)


# --- Twins ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("nms_iou", "births", "twins"), [(0.5, (0, 1), {}), (0.49, (1,), {0: 1}), (0.0, (0, 1), {})])
def test_of_free_detections_that_overlap_the_better_one_begins(
    nms_iou: float, births: tuple[int, ...], twins: dict[int, int]
) -> None:
    result = plan(cups((0.8, HALF), (0.9, SQUARE)), rules={"nms_iou": nms_iou})
    assert (result.births, dict(result.twins)) == (births, twins)


def test_twins_are_told_by_their_places_among_all_detections() -> None:
    """The first is a track, the second empty; of the other three the first two overlap."""
    found = cups((0.9, ELSEWHERE), (0.9, NOTHING), (0.8, SQUARE), (0.75, HALF), (0.9, box(12, 0, 18, 6)))
    result = plan(found, (track(1), ELSEWHERE), rules={"nms_iou": 0.3})
    assert dict(result.twins) == {3: 2}
    assert (result.births, result.decisions[3]) == ((2, 4), UNSURE)


def test_a_twin_is_that_of_the_best_one_that_it_overlaps_and_has_no_twin_itself() -> None:
    """A row of three, where the middle one overlaps both others by 1 / 3: it is the first one's, not the last one's."""
    found = cups((0.8, box(0, 0, 6, 6)), (0.9, box(3, 0, 9, 6)), (0.7, box(6, 0, 12, 6)))
    assert dict(plan(found).twins) == {0: 1, 2: 1}
    found = replace(found, scores=found.scores[[1, 0, 2]])  # 0.9, 0.8, 0.7
    assert dict(plan(found).twins) == {1: 0}


def test_what_is_suppressed_by_a_better_one_is_not_found_again_either() -> None:
    lost = {1: None, 2: None}
    result = plan(cups((0.6, HALF), (0.9, SQUARE)), (track(1), NOTHING), (track(2), NOTHING), lost=lost)
    assert dict(result.reidentified) == {1: 1}
    assert dict(result.twins) == {0: 1}


# --- Lost tracks ------------------------------------------------------------------------------------------------------


def test_the_nearest_lost_track_is_found_again() -> None:
    lost = {1: (0.9, 0.1), 2: (0.1, 0.9), 3: None}
    known = [(track(i), NOTHING) for i in lost]
    result = plan(cups((0.6, box(16, 0, 20, 4))), *known, lost=lost)  # its centre: 0.9, 0.1
    assert (result.decisions, dict(result.reidentified), result.births) == ((back(1),), {1: 0}, ())
    assert plan(cups((0.6, box(0, 16, 4, 20))), *known, lost=lost).decisions == (back(2),)


def test_of_lost_tracks_as_near_the_older_is_found_again() -> None:
    lost = {5: None, 3: None}
    result = plan(cups((0.6, SQUARE)), (track(3), NOTHING), (track(5), NOTHING), lost=lost)
    assert result.decisions == (back(3),)


def test_a_place_far_away_goes_before_none_at_all() -> None:
    lost = {1: None, 2: (9.0, 9.0)}
    result = plan(cups((0.6, SQUARE)), (track(1), NOTHING), (track(2), NOTHING), lost=lost)
    assert result.decisions == (back(2),)


def test_the_best_score_chooses_first_and_what_is_left_over_may_be_new() -> None:
    lost = {1: (0.1, 0.1), 2: (0.9, 0.1)}
    found = cups((0.75, CORNERS[0]), (0.9, CORNERS[1]), (0.8, CORNERS[2]))  # centres x: 0.1, 0.5, 0.9
    result = plan(found, (track(1), NOTHING), (track(2), NOTHING), lost=lost, rules={"new_score": 0.7})
    assert result.decisions == (NEW, back(1), back(2)), "0.5 is as near to 0.1 as to 0.9: the older"


def test_only_what_is_nothing_yet_is_found_again() -> None:
    found = cups((0.95, SQUARE), (0.9, NOTHING), (0.6, ELSEWHERE))
    result = plan(found, (track(1), SQUARE), (track(2), NOTHING), lost={2: None})
    assert result.decisions == (tracked(1), EMPTY, back(2))


def test_lost_tracks_stay_lost_where_the_rules_say_so() -> None:
    result = plan(cups((0.9, SQUARE)), (track(1), NOTHING), lost={1: None}, rules={"reidentify": False})
    assert (result.decisions, dict(result.reidentified)) == ((NEW,), {})


def test_who_is_found_again_has_the_detections_score_and_counts_as_not_seen_until_it_begins() -> None:
    known = [(track(1, not_seen=4, confirmed=True), NOTHING), (track(2, confirmed=True), SQUARE)]
    result = plan(cups((0.25, ELSEWHERE)), *known, lost={1: None})
    assert [(one.object_id, one.score, one.not_seen) for one in result.tracks] == [(1, 0.25, 5), (2, 0.9, 0)]


@pytest.mark.parametrize(
    ("not_seen", "removed", "decision"),
    [
        (1, {}, back(1)),
        (2, {}, back(1)),  # this search is its third: it would leave
        (3, {1: Removal.LEFT}, NEW),
    ],
)
def test_a_lost_track_may_be_found_on_the_search_on_which_it_would_leave(
    not_seen: int, removed: Any, decision: Decision
) -> None:
    known = (track(1, not_seen=not_seen, confirmed=True), NOTHING)
    result = plan(cups((0.9, SQUARE)), known, lost={1: None}, rules={"leave_after": 3})
    assert (dict(result.removed), result.decisions) == (removed, (decision,))
    assert len(result.tracks) == (0 if removed else 1)
    forever = plan(cups((0.9, SQUARE)), known, lost={1: None}, rules={"leave_after": 0})
    assert forever.decisions == (back(1),)


def test_tracks_stay_in_the_order_of_their_ids_also_where_one_that_would_have_left_is_found() -> None:
    """The one found again is put back among those that stay."""
    known = [(track(1, not_seen=2, confirmed=True), NOTHING), (track(2), SQUARE), (track(3), ELSEWHERE)]
    result = plan(cups((0.9, box(12, 0, 18, 6))), *known, lost={1: None}, rules={"leave_after": 3})
    assert [(one.object_id, one.not_seen) for one in result.tracks] == [(1, 3), (2, 0), (3, 0)]


# --- Room -------------------------------------------------------------------------------------------------------------

FOUR = cups(*zip((0.75, 0.9, 0.8, 0.95), CORNERS, strict=False))


@pytest.mark.parametrize(
    ("places", "max_objects", "births", "out_of_places"),
    [
        (9, None, (0, 1, 2, 3), False),
        (4, None, (0, 1, 2, 3), False),
        (3, None, (3, 1, 2), True),
        (1, None, (3,), True),
        (0, None, (), True),
        (9, 4, (3, 1, 2), False),  # the concept has a track already
        (9, 5, (0, 1, 2, 3), False),
        (2, 4, (3, 1), True),  # the stream is fuller than the concept
        (3, 4, (3, 1, 2), False),  # both are full: the concept's limit is told
        (9, 1, (), False),
        (-1, None, (), True),
    ],
)
def test_where_there_is_too_little_room_the_best_scores_begin(
    places: int, max_objects: int | None, births: tuple[int, ...], out_of_places: bool
) -> None:
    known = (track(1), box(12, 12, 20, 20))
    result = plan(FOUR, known, rules={"max_objects": max_objects}, search={"places": places})
    assert (result.births, result.out_of_places) == (births, out_of_places)
    assert result.decisions == tuple(NEW if i in births else FULL for i in range(4))


def test_a_concept_that_has_more_objects_than_it_may_begins_none() -> None:
    known = [(track(i), mask) for i, mask in enumerate(CORNERS[3:], 1)]
    assert plan(FOUR, *known, rules={"max_objects": 2}).births == ()


# --- Conditioning memories, removals, hiding --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "every", "score", "expected"),
    [
        (0, 16, 5.0, {1: 0}),
        (32, 16, 5.0, {1: 0}),
        (1, 16, 5.0, {}),
        (17, 16, 5.0, {}),
        (16, 0, 5.0, {}),
        (16, 8, 5.0, {1: 0}),
        (16, 16, 0.75, {}),  # the track must be above the score, where a detection may be at it
        (16, 16, 0.76, {1: 0}),
    ],
)
def test_confident_tracks_are_reconditioned_every_so_many_searches(
    now: int, every: int, score: float, expected: dict[int, int]
) -> None:
    rules = {"recondition_every": every, "recondition_score": 0.75}
    result = plan(cups((0.75, SQUARE)), (track(1), SQUARE), scores=[score], rules=rules, search={"now": now})
    assert dict(result.reconditioned) == expected


def test_reconditioning_names_the_object_and_the_detection() -> None:
    found = cups((0.9, CORNERS[0]), (0.9, ELSEWHERE), (0.9, SQUARE * 0 - 1))
    result = plan(found, (track(4), NOTHING), (track(6), ELSEWHERE), scores=[-5.0, 5.0], search={"now": 16})
    assert dict(result.reconditioned) == {6: 1}


def test_removed_and_hidden_tracks_are_told() -> None:
    rules = {"hide_unmatched": True, "hot_start": 15}
    young = track(1, unmatched=7, keep_alive=3)
    weary = track(2, unmatched=20, keep_alive=1, confirmed=True)
    result = plan(cups(), (young, SQUARE), (weary, ELSEWHERE), rules=rules)
    assert (dict(result.removed), result.hidden) == ({1: Removal.UNMATCHED}, {2})
    assert [one.object_id for one in result.tracks] == [2]


def test_the_number_of_the_search_decides_who_is_young() -> None:
    young = (track(1, unmatched=7), SQUARE)
    assert dict(plan(cups(), young, rules={"hot_start": 15}, search={"now": 14}).removed) == {1: Removal.UNMATCHED}
    assert dict(plan(cups(), young, rules={"hot_start": 15}, search={"now": 15}).removed) == {}


def test_as_released_concepts_are_kept_apart_and_lost_tracks_are_not_found_again() -> None:
    known = Known([track(1)], masks(NOTHING), [-5.0], lost={1: None}, others=[7], other_masks=masks(SQUARE))
    result = plan_search(cups((0.9, SQUARE)), known, RELEASED, now=0, places=1, at_any_score=False)
    assert result.decisions == (NEW,)
