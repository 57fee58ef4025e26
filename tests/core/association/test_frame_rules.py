"""The rules on one frame: what is searched, planned, shown and remembered of tracks that are drawn by hand."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sam_core.association import (
    RELEASED,
    ConceptDetections,
    FollowedConcept,
    Known,
    SearchPlan,
    Track,
    plan_search,
)
from sam_core.association.frame_rules import Detect, FrameSearch, Judgement, judge
from sam_core.streaming import Frame
from sam_core.streaming.tracking import Tracked
from tests.core.association.rectangles import GRID, NOTHING, box, cups, masks, track

CPU = torch.device("cpu")
NUMBER = 41  # of the frame
SQUARE, INNER = box(0, 0, 10, 10), box(1, 0, 10, 10)  # IoU 90 / 100
ELSEWHERE = box(12, 12, 18, 18)
RULES = replace(RELEASED, fill_hole_area=0)  # on every frame
CUP, PLATE = FollowedConcept("cup", rules=RULES), FollowedConcept("plate", rules=RULES)


def frame() -> Frame:
    features: Any = None  # the rules look at masks alone
    return Frame(number=NUMBER, stamp=0, size=(GRID, GRID), features=features)


def finding(**by_phrase: ConceptDetections | None) -> Detect:
    def detect(searched: Frame, phrases: tuple[str, ...]) -> Iterable[ConceptDetections | None]:
        assert searched.number == NUMBER
        return [by_phrase[phrase] for phrase in phrases]

    return detect


class Planner:
    """Plans as the tracker does, and notes what it was asked."""

    def __init__(self, now: int = 1) -> None:
        self.now = now
        self.asked: list[tuple[str, Known, int]] = []

    def __call__(self, concept: FollowedConcept, found: ConceptDetections, known: Known, taken: int) -> SearchPlan:
        self.asked.append((concept.phrase, known, taken))
        return plan_search(found, known, concept.rules, now=self.now, places=9, at_any_score=False)


def judged(
    *objects: tuple[Track | int, Tensor],
    concepts: tuple[FollowedConcept, ...] = (),
    detect: Detect | None = None,
    hidden: Iterable[int] = (),
    scores: tuple[float, ...] | None = None,
    plan: Planner | None = None,
    search: FrameSearch | None = None,
    **rules: Any,
) -> Judgement:
    """Judge a frame of objects: tracks, or ids of objects that somebody prompted, each with its mask."""
    low_res = masks(*(mask for _, mask in objects))
    given = [5.0] * len(objects) if scores is None else list(scores)
    unused = torch.zeros(len(objects))
    tracked = Tracked(low_res[:, None], unused, torch.tensor(given)[:, None], unused[:, None])
    tracks: Mapping[int, Track] = {one.object_id: one for one, _ in objects if isinstance(one, Track)}
    return judge(
        search or FrameSearch(concepts, detect),
        frame(),
        [one if isinstance(one, int) else one.object_id for one, _ in objects],
        tracked if objects else None,
        tracks=tracks,
        hidden=frozenset(hidden),
        plan=plan or Planner(),
        grid=GRID,
        device=CPU,
        rules=replace(RULES, **rules),
    )


def visible(logits: Tensor) -> list[bool]:
    return [bool((mask > 0).any()) for mask in logits]


# --- The search -------------------------------------------------------------------------------------------------------


def test_a_search_selects_brings_to_the_grid_and_leaves_out_what_nobody_asks_for_any_more() -> None:
    small = ConceptDetections("cup", torch.tensor([0.9, 0.5]), torch.ones(2, 4, 4))
    search = FrameSearch((CUP, FollowedConcept("fork"), PLATE), finding(cup=small, fork=None, plate=cups()))
    (cup, found), (plate, none) = search.run(frame(), GRID, CPU)
    assert (cup, plate) == (CUP, PLATE)
    assert found.scores.tolist() == pytest.approx([0.9]), "a score of 0.5 is not above 0.5"
    assert (found.logits.shape, none.logits.shape) == ((1, GRID, GRID), (0, GRID, GRID))
    assert (search.failed, search.problems) == (False, [])


def test_without_a_detector_or_concepts_nothing_is_searched() -> None:
    assert FrameSearch((CUP,), None).run(frame(), GRID, CPU) == []
    assert FrameSearch((), finding()).run(frame(), GRID, CPU) == []


def test_a_detector_that_answers_too_little_has_failed_and_nothing_of_it_counts() -> None:
    def half(searched: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections]:
        yield cups((0.9, SQUARE))

    search = FrameSearch((CUP, PLATE), half)
    assert search.run(frame(), GRID, CPU) == []
    (problem,) = search.problems
    assert problem.startswith("the detector failed on this image: ValueError: zip()")
    assert search.failed


def test_the_time_of_the_detector_is_told_apart_from_that_of_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def slow_detector(searched: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections]:
        nonlocal now
        now += 4.0
        yield cups()

    class SlowPlanner(Planner):
        def __call__(self, *asked: Any) -> SearchPlan:
            nonlocal now
            now += 2.0
            return super().__call__(*asked)

    search = FrameSearch((CUP,), slow_detector)
    assert (judged(search=search, plan=SlowPlanner()).seconds, search.seconds) == (2.0, 4.0)


# --- Plans ------------------------------------------------------------------------------------------------------------


def test_each_concept_is_planned_with_its_own_tracks_and_all_other_objects() -> None:
    cup, plate = track(2), track(5, concept="plate")
    asked = Planner()
    judgement = judged(
        (cup, SQUARE),
        (3, INNER),
        (plate, NOTHING),
        scores=(5.0, 4.0, 0.0),
        concepts=(CUP, PLATE),
        detect=finding(cup=cups((0.9, ELSEWHERE), (0.9, box(12, 0, 18, 6))), plate=cups()),
        plan=asked,
    )
    (_, known, taken), (_, others, taken_later) = asked.asked
    assert (known.tracks, known.scores, known.others) == ([cup], [5.0], [3, 5])
    torch.testing.assert_close(known.masks, masks(SQUARE))
    torch.testing.assert_close(known.other_masks, masks(INNER, NOTHING))
    assert dict(known.lost) == {}
    assert (others.tracks, others.scores, others.others) == ([plate], [0.0], [2, 3])
    assert dict(others.lost) == {5: None}, "a logit of 0 is not visible"
    assert (taken, taken_later) == (0, 2), "the cups that begin take two places"
    assert [(concept, len(found), plan.births) for concept, found, plan in judgement.plans] == [
        (CUP, 2, (0, 1)),
        (PLATE, 0, ()),
    ]


def test_births_of_all_concepts_before_are_counted() -> None:
    asked = Planner()
    one = cups((0.9, ELSEWHERE))
    three = tuple(FollowedConcept(phrase, rules=RULES) for phrase in ("cup", "plate", "fork"))
    judged(concepts=three, detect=finding(cup=one, plate=one, fork=one), plan=asked)
    assert [taken for *_, taken in asked.asked] == [0, 1, 2]


def test_without_objects_there_is_a_plan_and_no_ruling() -> None:
    asked = Planner()
    judgement = judged(concepts=(CUP,), detect=finding(cup=cups((0.9, SQUARE))), plan=asked)
    ((_, known, _),) = asked.asked
    assert (known.masks.shape, known.tracks, known.scores) == ((0, GRID, GRID), [], [])
    assert (judgement.ruling, dict(judgement.last_occluded)) == (None, {})
    ((_, _, plan),) = judgement.plans
    assert plan.births == (0,)


# --- What is shown and remembered -------------------------------------------------------------------------------------


def test_a_track_alone_is_shown_and_remembered_as_it_is_and_as_surely_visible() -> None:
    judgement = judged((track(1), SQUARE), scores=(0.5,))
    assert judgement.ruling is not None
    torch.testing.assert_close(judgement.ruling.shown, masks(SQUARE))
    torch.testing.assert_close(judgement.ruling.remembered, masks(SQUARE))
    assert (judgement.ruling.scores, judgement.ruling.suppressed) == ((10.0,), (False,))
    assert dict(judgement.last_occluded) == {}


def test_a_track_without_a_mask_is_remembered_as_absent_and_was_occluded_on_this_frame() -> None:
    judgement = judged((track(1), NOTHING), scores=(5.0,))
    assert judgement.ruling is not None
    assert (judgement.ruling.scores, judgement.ruling.suppressed) == ((-10.0,), (False,))
    assert dict(judgement.last_occluded) == {1: NUMBER}


@pytest.mark.parametrize(("logit", "score"), [(0.5, 10.0), (0.0, -10.0)])
def test_a_mask_is_where_its_logit_is_above_0(logit: float, score: float) -> None:
    judgement = judged((track(1), box(0, 0, 10, 10, logit)))
    assert judgement.ruling is not None
    assert judgement.ruling.scores == (score,)
    assert dict(judgement.last_occluded) == ({} if score > 0 else {1: NUMBER})


def test_an_object_that_somebody_prompted_is_left_as_the_network_says() -> None:
    """Though it overlaps a track, has a hole, and was occluded more recently than anything."""
    hollow = SQUARE.clone()
    hollow[5, 5] = -1.0
    judgement = judged((1, hollow), (track(2, last_occluded=7), SQUARE), scores=(0.5, 5.0), fill_hole_area=16)
    assert judgement.ruling is not None
    torch.testing.assert_close(judgement.ruling.shown, masks(hollow, SQUARE))
    torch.testing.assert_close(judgement.ruling.remembered, masks(hollow, SQUARE))
    assert (judgement.ruling.scores, judgement.ruling.suppressed) == ((0.5, 10.0), (False, False))


def test_holes_of_tracks_are_filled_up_to_the_area_of_the_rules() -> None:
    hollow = SQUARE.clone()
    hollow[5, 5:7] = -1.0
    filled, left = judged((track(1), hollow), fill_hole_area=2).ruling, judged((track(1), hollow)).ruling
    assert filled is not None
    assert left is not None
    assert filled.shown[0, 5, 5:7].tolist() == filled.remembered[0, 5, 5:7].tolist() == pytest.approx([0.1, 0.1])
    torch.testing.assert_close(left.shown, masks(hollow))


def test_of_two_tracks_that_overlap_one_is_suppressed_and_remembered_as_absent() -> None:
    pair = ((track(1, last_occluded=3), SQUARE), (track(2, last_occluded=7), INNER))
    judgement = judged(*pair)
    assert judgement.ruling is not None
    assert (visible(judgement.ruling.shown), visible(judgement.ruling.remembered)) == ([True, False], [True, False])
    assert judgement.ruling.shown[1].max() == -10.0
    assert (judgement.ruling.scores, judgement.ruling.suppressed) == ((10.0, -10.0), (False, True))
    assert dict(judgement.last_occluded) == {2: NUMBER}
    off = judged(*pair, overlap_iou=0.0)
    assert off.ruling is not None
    assert (off.ruling.suppressed, dict(off.last_occluded)) == ((False, False), {})


def test_tracks_of_different_concepts_do_not_suppress_each_other() -> None:
    plate = track(2, last_occluded=7, concept="plate")
    judgement = judged((track(1, last_occluded=3), SQUARE), (plate, INNER), (track(3, last_occluded=9), ELSEWHERE))
    assert judgement.ruling is not None
    assert judgement.ruling.suppressed == (False, False, False)
    assert judgement.ruling.scores == (10.0, 10.0, 10.0)


def test_who_keeps_too_little_of_its_mask_is_shown_but_remembered_as_absent() -> None:
    """Three of ten columns are its own: 0.3 is enough at 0.3."""
    for share, present in ((0.3, True), (0.31, False)):
        pair = (track(1), box(0, 0, 10, 10, 3.0)), (track(2), box(3, 0, 10, 10, 5.0))
        ruling = judged(*pair, least_share=share, overlap_iou=0.0).ruling
        assert ruling is not None
        assert visible(ruling.shown) == [True, True]
        assert visible(ruling.remembered) == [present, True]
        assert ruling.scores == (10.0 if present else -10.0, 10.0)
        assert ruling.suppressed == (False, False)


# --- Hidden tracks ----------------------------------------------------------------------------------------------------


def test_a_hidden_track_is_not_shown_and_remembered_all_the_same() -> None:
    ruling = judged((track(1), SQUARE), (7, ELSEWHERE), hidden=[1]).ruling
    assert ruling is not None
    assert (visible(ruling.shown), visible(ruling.remembered)) == ([False, True], [True, True])
    assert ruling.shown[0].max() == -10.0
    assert (ruling.scores, ruling.suppressed) == ((10.0, 5.0), (True, False))


def test_a_search_decides_anew_which_tracks_of_its_concept_are_hidden() -> None:
    """The second cup becomes hidden, the first is so no more, and the plate, which was not searched, stays so."""
    hiding = replace(RULES, hide_unmatched=True)
    objects = (
        (track(1, confirmed=True, keep_alive=0), SQUARE),
        (track(2, confirmed=True, keep_alive=1), ELSEWHERE),
        (track(3, concept="plate"), box(12, 0, 18, 6)),
    )
    ruling = judged(
        *objects,
        concepts=(FollowedConcept("cup", rules=hiding),),
        detect=finding(cup=cups((0.9, SQUARE))),
        hidden=[1, 3],
    ).ruling
    assert ruling is not None
    assert ruling.suppressed == (False, True, True)


# --- Reconditioning ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["track", "detection"])
def test_a_reconditioned_track_shows_its_detection_and_remembers_as_the_rules_say(whose: str) -> None:
    detected = box(0, 0, 9, 10, 0.5)
    detected[9, :] = 0.49  # seen, but below 0.5
    concept = FollowedConcept("cup", rules=replace(RULES, recondition_mask=whose))
    known = ((7, ELSEWHERE), (track(1), SQUARE))
    found = finding(cup=cups((0.9, box(12, 0, 18, 6)), (0.9, detected)))
    ruling = judged(*known, concepts=(concept,), detect=found, plan=Planner(now=16)).ruling
    assert ruling is not None
    torch.testing.assert_close(ruling.shown, masks(ELSEWHERE, detected))
    remembered = SQUARE if whose == "track" else (box(0, 0, 9, 9) > 0).float()
    torch.testing.assert_close(ruling.remembered, masks(ELSEWHERE, remembered))
    assert (ruling.scores, ruling.suppressed) == ((5.0, 10.0), (False, False))


def test_what_the_detector_sees_just_now_is_shown_though_it_would_give_way() -> None:
    pair = ((track(1, last_occluded=3), SQUARE), (track(2, last_occluded=7), INNER))
    for now, suppressed in ((1, True), (16, False)):  # the sixteenth search reconditions
        judgement = judged(*pair, concepts=(CUP,), detect=finding(cup=cups((0.9, INNER))), plan=Planner(now))
        assert judgement.ruling is not None
        assert judgement.ruling.suppressed == (False, suppressed)
        assert visible(judgement.ruling.shown) == [True, not suppressed]
        assert dict(judgement.last_occluded) == {2: NUMBER}, "it was occluded all the same"
