"""The rules for concepts on masks drawn by hand: every decision is worked out on paper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sam_core.association import (
    LIVE,
    RELEASED,
    Association,
    ConceptDetections,
    ConceptRules,
    Decision,
    Known,
    Match,
    Removal,
    SearchPlan,
    Track,
    clean,
    mask_ious,
    match,
    plan_search,
    recently_occluded,
    select,
    shrunk,
    survey,
)
from tests.core.association.rectangles import box, cups, masks, track


def plan(found: ConceptDetections, known: Known, rules: ConceptRules = LIVE, **more: Any) -> SearchPlan:
    return plan_search(found, known, rules, **{"now": 1, "places": 9, "at_any_score": False, **more})


def known(*where: tuple[Track, Tensor], **more: Any) -> Known:
    tracks, on_frame = [one for one, _ in where], masks(*(mask for _, mask in where))
    scores = [5.0 if bool((mask > 0).any()) else -5.0 for mask in on_frame]
    return Known(tracks, on_frame, scores, **more)


# --- Which detections count -------------------------------------------------------------------------------------------


def test_detections_are_thresholded_and_of_those_that_overlap_the_best_is_kept() -> None:
    found = cups(
        (0.6, box(0, 0, 10, 10)), (0.9, box(1, 0, 11, 10)), (0.5, box(12, 12, 20, 20)), (0.8, box(12, 0, 20, 8))
    )
    chosen = select(found, RELEASED)
    assert chosen.kept == (1, 3), "a score of 0.5 is not above 0.5"
    assert chosen.twins == {0: 1}
    assert select(found, replace(RELEASED, nms_iou=0.0)).kept == (0, 1, 3)
    assert select(found, replace(RELEASED, nms_iou=0.9)).kept == (0, 1, 3), "IoU 90 / 110"


@pytest.mark.parametrize("count", [0, 10_000])
def test_any_number_of_detections_is_bounded_by_the_best(count: int) -> None:
    scores = torch.linspace(0.6, 0.9, count)
    found = ConceptDetections("cup", scores, torch.full((1, 4, 4), 1.0).expand(count, 4, 4))
    assert select(found, RELEASED).kept == ((count - 1,) if count else ())
    many = select(found, replace(RELEASED, nms_iou=0.0)).kept
    assert many == tuple(range(count))[-RELEASED.max_detections :]


# --- Match ------------------------------------------------------------------------------------------------------------


def test_iou_is_intersection_over_union() -> None:
    ones, others = masks(box(0, 0, 10, 10), box(0, 0, 0, 0)) > 0, masks(box(5, 0, 15, 10), box(0, 0, 10, 10)) > 0
    torch.testing.assert_close(mask_ious(ones, others), torch.tensor([[50 / 150, 1.0], [0.0, 0.0]]))


def test_matched_new_free_unmatched_and_empty() -> None:
    found = cups(
        (0.9, box(0, 0, 10, 10)),  # on track 0, IoU 1: confident
        (0.75, box(12, 12, 20, 20)),  # on nothing: new
        (0.65, box(0, 14, 6, 20)),  # on nothing, and its score is too low
        (0.95, box(12, 0, 20, 8)),  # on track 1, IoU 16 / 64 = 0.25: matched, yet the track counts as unmatched
    )
    tracks = masks(box(0, 0, 10, 10), box(12, 0, 14, 8), box(0, 0, 0, 0))
    result = match(found.logits, found.scores, tracks, RELEASED, at_any_score=True)
    assert result == Match(
        new=(1,),
        free=(1, 2),
        matched=((0,), (), (), (1,)),
        unmatched=(1,),
        empty=(2,),
        confident={0: 0},
        best=(0, None, None, 1),
    )


def test_while_nothing_is_tracked_every_detection_is_new_if_the_rules_say_so() -> None:
    found = cups((0.55, box(0, 0, 5, 5)), (0.7, box(9, 9, 15, 15)))
    assert match(found.logits, found.scores, masks(), RELEASED, at_any_score=True).new == (0, 1)
    assert match(found.logits, found.scores, masks(), RELEASED, at_any_score=False).new == (1,), "0.7 suffices"


def test_without_detections_every_track_with_a_mask_is_unmatched() -> None:
    result = match(masks(), torch.zeros(0), masks(box(0, 0, 5, 5), box(0, 0, 0, 0)), RELEASED, at_any_score=True)
    assert (result.unmatched, result.empty, result.new) == ((0,), (1,), ())


def test_one_detection_may_be_several_tracks() -> None:
    found = cups((0.9, box(0, 0, 10, 10)))
    result = match(found.logits, found.scores, masks(box(0, 0, 9, 10), box(1, 0, 10, 10)), RELEASED, at_any_score=False)
    assert result.matched == ((0, 1),)


# --- Hot start and keep-alive -----------------------------------------------------------------------------------------

NOTHING = Match((), (), (), (), (), {}, ())


def test_a_young_track_is_withdrawn_after_eight_unmatched_searches_and_an_old_one_stays() -> None:
    young, old = track(1, born=10, unmatched=7), track(2, born=2, unmatched=7)
    after = survey([young, old], replace(NOTHING, unmatched=(0, 1)), [], 17, RELEASED)
    assert after.removed == {1: Removal.UNMATCHED}
    assert [(one.object_id, one.confirmed, one.unmatched) for one in after.tracks] == [(2, True, 8)]


def test_a_young_track_that_shares_detections_with_an_older_one_is_withdrawn() -> None:
    shared = replace(NOTHING, matched=((0, 1),))
    tracks = [track(1, born=3), track(2, born=5, shared={1: 7})]
    after = survey(tracks, shared, [0.8], 12, RELEASED)
    assert after.removed == {2: Removal.DUPLICATE}
    after = survey([tracks[0], replace(tracks[1], shared={1: 6})], shared, [0.8], 12, RELEASED)
    assert [dict(one.shared) for one in after.tracks] == [{}, {1: 7}]
    assert [one.score for one in after.tracks] == [0.8, pytest.approx(0.8)]


def test_a_track_is_tentative_until_its_hot_start_is_over_and_then_for_ever_confirmed() -> None:
    one = track(1, born=5)
    states = []
    for now in range(6, 22):
        (one,) = survey([one], replace(NOTHING, matched=((0,),)), [0.9], now, RELEASED).tracks
        states.append(one.confirmed)
    assert states.index(True) == 20 - 6, "15 searches after it was born"
    (one,) = survey([one], NOTHING, [], 0, RELEASED).tracks
    assert one.confirmed


def test_keep_alive_is_counted_within_its_bounds_and_hides_if_asked() -> None:
    rules = replace(RELEASED, hide_unmatched=True)
    one = track(1, born=-99, unmatched=1)
    up = survey([one], replace(NOTHING, matched=((0,),)), [0.9], 0, rules)
    assert up.tracks[0].keep_alive == 30
    down = survey([replace(one, keep_alive=0)], replace(NOTHING, unmatched=(0,)), [], 0, rules)
    assert (down.tracks[0].keep_alive, down.hidden) == (-1, {1})
    still = survey(down.tracks, replace(NOTHING, unmatched=(0,)), [], 0, RELEASED)
    assert (still.tracks[0].keep_alive, still.hidden) == (-1, frozenset())
    empty = survey([one], replace(NOTHING, empty=(0,)), [], 0, replace(rules, empty_counts_as_unmatched=True))
    assert empty.tracks[0].keep_alive == 29


def test_a_track_that_is_not_seen_for_long_leaves_and_one_that_comes_back_starts_to_count_anew() -> None:
    rules = replace(RELEASED, leave_after=3)
    one = track(1, born=-99, not_seen=2)
    assert survey([one], replace(NOTHING, empty=(0,)), [], 0, rules).removed == {1: Removal.LEFT}
    assert survey([one], NOTHING, [], 0, rules).tracks[0].not_seen == 0
    assert survey([one], replace(NOTHING, empty=(0,)), [], 0, RELEASED).removed == {}


# --- Overlaps ---------------------------------------------------------------------------------------------------------


def test_of_two_that_overlap_the_more_recently_occluded_gives_way_if_the_other_was_ever_occluded() -> None:
    pair = masks(box(0, 0, 10, 10), box(1, 0, 10, 10)) > 0  # IoU 0.9
    for last, expected in (
        ([-1, -1], [False, False]),
        ([-1, 7], [False, False]),
        ([3, 7], [False, True]),
        ([7, 3], [True, False]),
        ([5, 5], [False, False]),
    ):
        assert recently_occluded(pair, last, [0, 0], 0.7).tolist() == expected
    assert recently_occluded(pair, [3, 7], [0, 1], 0.7).tolist() == [False, False], "different concepts"
    assert recently_occluded(pair, [3, 7], [0, 0], 0.95).tolist() == [False, False], "too little in common"


def test_what_keeps_less_than_a_third_of_its_mask_is_remembered_as_absent() -> None:
    logits = masks(box(0, 0, 10, 10, 5.0), box(3, 0, 10, 10, 3.0), box(8, 0, 18, 10, 4.0))
    kept = shrunk(logits, [0, 0, 0], 0.3)
    assert [bool((mask > 0).any()) for mask in kept] == [True, False, True]
    assert kept[1].max() == -10
    torch.testing.assert_close(kept[0], logits[0]), "whole, not cut"
    torch.testing.assert_close(shrunk(logits, [0, 1, 2], 0.3), logits)


def test_holes_are_filled_and_specks_removed_but_half_of_a_small_thing_is_no_speck() -> None:
    logits = box(2, 2, 12, 12)
    logits[5, 5:7] = -3.0
    logits[18, 18] = 2.0
    cleaned = clean(logits[None], 2)[0]
    assert cleaned[5, 5:7].tolist() == pytest.approx([0.1, 0.1])
    assert cleaned[18, 18] == pytest.approx(-0.1)
    small = box(4, 4, 6, 5)  # two places
    torch.testing.assert_close(clean(small[None], 16)[0], small)
    assert clean(logits[None], 0) is not None
    torch.testing.assert_close(clean(logits[None], 0)[0], logits)


# --- Plans ------------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_each_detection_is() -> None:
    found = cups(
        (0.9, box(0, 0, 10, 10)),
        (0.8, box(12, 12, 20, 20)),
        (0.6, box(0, 14, 6, 20)),
        (0.9, box(0, 0, 0, 0)),
        (0.9, box(12, 0, 20, 8)),
    )
    here = known((track(1), box(0, 0, 10, 9)), others=[7], other_masks=masks(box(12, 0, 20, 9)))
    result = plan(found, here)
    assert [(one.association, one.object_id) for one in result.decisions] == [
        (Association.TRACKED, 1),
        (Association.NEW, None),
        (Association.UNSURE, None),
        (Association.EMPTY, None),
        (Association.TRACKED, 7),  # somebody clicked it
    ]
    assert result.births == (1,)
    apart = plan(found, here, replace(LIVE, across_concepts=False))
    assert apart.births == (1, 4), "as released: concepts are kept apart"


def test_beyond_the_limit_the_best_scores_begin() -> None:
    found = cups((0.75, box(0, 0, 5, 5)), (0.9, box(7, 0, 12, 5)), (0.8, box(14, 0, 19, 5)))
    here = known((track(1), box(0, 10, 10, 20)))
    assert plan(found, here, places=2).births == (1, 2)
    assert plan(found, here, replace(LIVE, max_objects=2)).births == (1,)
    full = plan(found, here, places=0)
    assert full.births == ()
    assert [one.association for one in full.decisions] == [Association.LIMIT_REACHED] * 3


def test_a_lost_track_is_found_again_whatever_the_score_and_the_nearest_first() -> None:
    nothing = box(0, 0, 0, 0)
    here = known(
        (track(1), nothing), (track(2), nothing), (track(3), nothing), lost={1: None, 2: (0.9, 0.9), 3: (0.1, 0.1)}
    )
    result = plan(cups((0.55, box(15, 15, 20, 20)), (0.9, box(0, 0, 5, 5))), here)
    assert result.decisions == (Decision(Association.REIDENTIFIED, 2), Decision(Association.REIDENTIFIED, 3))
    assert result.reidentified == {3: 1, 2: 0}
    assert result.births == ()
    assert {one.object_id: one.score for one in result.tracks} == {
        1: 0.9,
        2: pytest.approx(0.55),
        3: pytest.approx(0.9),
    }
    assert plan(cups((0.9, box(0, 0, 5, 5))), here, RELEASED).births == (0,), "as released: a new one"


def test_a_lost_track_that_is_found_in_the_moment_it_would_leave_stays_once() -> None:
    """It counts as not seen until it has begun again: a mask that the network refuses must not keep it for ever."""
    here = known((track(1, not_seen=299), box(0, 0, 0, 0)), lost={1: (0.5, 0.5)})
    back = plan(cups((0.9, box(0, 0, 5, 5))), here)
    assert (back.removed, [one.not_seen for one in back.tracks]) == ({}, [300])
    assert plan(cups(), here).removed == {1: Removal.LEFT}
    overdue = known((track(1, not_seen=300), box(0, 0, 0, 0)), lost={1: (0.5, 0.5)})
    again = plan(cups((0.9, box(0, 0, 5, 5))), overdue)
    assert (again.removed, again.reidentified, again.births) == ({1: Removal.LEFT}, {}, (0,))


def test_two_look_alikes_that_changed_places_while_lost_change_ids() -> None:
    """What the rules cannot do: nothing but the place tells lost siblings apart."""
    nothing = box(0, 0, 0, 0)
    here = known((track(1), nothing), (track(2), nothing), lost={1: (0.1, 0.5), 2: (0.9, 0.5)})
    went_across = plan(cups((0.9, box(15, 8, 19, 12))), here)
    assert went_across.decisions == (Decision(Association.REIDENTIFIED, 2),)


@pytest.mark.parametrize(("now", "score", "expected"), [(16, 5.0, {1: 0}), (17, 5.0, {}), (16, 0.8, {})])
def test_every_sixteenth_search_confident_tracks_are_reconditioned(now: int, score: float, expected: Any) -> None:
    here = replace(known((track(1), box(0, 0, 10, 10))), scores=[score])
    assert plan(cups((0.9, box(0, 0, 10, 9))), here, now=now).reconditioned == expected
    assert plan(cups((0.79, box(0, 0, 10, 9))), here, now=now).reconditioned == {}


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"match_iou": 0.0}, "above 0"),
        ({"match_iou": float("nan")}, "nan"),
        ({"new_score": 1.1}, "1.1"),
        ({"hot_start": -1}, "at least 0"),
        ({"max_objects": 0}, "at least 1"),
        ({"recondition_mask": "both"}, "track, detection"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ConceptRules(**rules)
