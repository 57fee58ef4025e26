"""Searches that come between frames: what they change at once, and how an object begins after one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_core import Prompt, Tracker
from sam_core.association import (
    LIVE,
    Association,
    ConceptDetections,
    ConceptRules,
    ConceptTracker,
    Decision,
    Ending,
    Removal,
    SearchPlan,
    Track,
)
from sam_core.streaming import Frame, ObjectPhase, TrackState
from tests.core.association.blinded import blinded

SIDE = 32  # of the network's masks
SIZE = (96, 128)
IMAGE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
RULES = replace(LIVE, hot_start=6, hot_start_unmatched=2, new_score=0.7, match_iou=0.9)  # random masks are large


def square(x: int, y: int = 4) -> Tensor:
    logits = torch.full((SIDE, SIDE), -5.0)
    logits[y : y + 8, x : x + 8] = 5.0
    return logits


def found(*where: Tensor, phrase: str = "the cups", score: float = 0.9) -> ConceptDetections:
    masks = torch.stack(where) if where else torch.zeros(0, SIDE, SIDE)
    return ConceptDetections(phrase, torch.full((len(where),), score), masks)


class Camera:
    """A stream of four places, and a concept tracker that searches its frames beside it."""

    def __init__(self, tracker: Tracker, **settings: Any) -> None:
        self.stream = tracker.open_stream(max_objects=4, **settings)
        self.concepts = ConceptTracker(self.stream)

    def step(self) -> frozenset[str]:
        return self.concepts.step(IMAGE, self.stream.report().frames).lost

    @property
    def newest(self) -> Frame:
        return self.stream.history.frame_at()

    def search(
        self, detections: ConceptDetections, rules: ConceptRules = RULES, *, frame: Frame | None = None, **how: Any
    ) -> SearchPlan:
        return self.concepts.search(frame or self.newest, detections, rules, **how)

    def begin(
        self, detections: ConceptDetections, rules: ConceptRules = RULES, *, frame: Frame | None = None, **how: Any
    ) -> Track:
        """Search for a detection and begin it; return its track."""
        frame = frame or self.newest
        plan = self.search(detections, rules, frame=frame, counted=not how.get("confirmed", False))
        decision = self.concepts.begin(frame, detections, 0, plan, rules, **how)
        assert decision.object_id is not None
        return self.concepts.tracks[decision.object_id]


@pytest.fixture
def camera(micro_tracker: Tracker) -> Camera:
    camera = Camera(micro_tracker, reconditioning=True)
    camera.step()
    return camera


# --- What a search changes --------------------------------------------------------------------------------------------


def test_a_search_plans_births_and_begins_none(camera: Camera) -> None:
    plan = camera.search(found(square(3), square(20)))
    assert plan.births == (0, 1)
    assert (camera.stream.objects, dict(camera.concepts.tracks)) == ((), {})


def test_a_search_that_counts_moves_its_concepts_tracks_on(camera: Camera) -> None:
    """Unmatched for the second time, a tentative track ends; until the next step the result's `removed` waits."""
    one = camera.begin(found(square(3)))
    assert one.unmatched == 0
    camera.search(found())
    assert [one.unmatched for one in camera.concepts.tracks.values()] == [1]
    assert camera.concepts.ended == {}
    assert dict(camera.search(found()).removed) == {1: Removal.UNMATCHED}
    assert (camera.stream.objects, dict(camera.concepts.tracks)) == ((), {})
    assert camera.concepts.ended == {1: Ending("the detector did not confirm it")}
    outcome = camera.concepts.step(IMAGE, 1)
    assert (dict(outcome.removed), camera.concepts.ended) == ({1: Removal.UNMATCHED}, {})


def test_a_search_that_somebody_asked_for_once_changes_no_track(camera: Camera) -> None:
    camera.begin(found(square(3)))
    before = camera.concepts.tracks
    for _ in range(5):
        plan = camera.search(found(), counted=False)
    assert dict(plan.removed) == {}
    assert camera.concepts.tracks is before
    assert camera.concepts._searches == {"cup": 1}


def test_a_search_is_of_its_concept_alone(camera: Camera) -> None:
    camera.begin(found(square(3)))
    camera.begin(found(square(20), phrase="a plate"))
    camera.search(found(phrase="plates"))
    tracks = camera.concepts.tracks
    assert [(one.concept, one.unmatched) for one in tracks.values()] == [("cup", 0), ("plate", 1)]
    assert camera.concepts._searches == {"cup": 1, "plate": 2}


def test_searches_are_numbered_by_concept_from_0(camera: Camera) -> None:
    for _ in range(3):
        camera.search(found())
    assert camera.begin(found(square(3))).born == 3
    assert camera.begin(found(square(20), phrase="plate")).born == 0


def test_a_search_counts_its_age_for_those_that_are_young(camera: Camera) -> None:
    """Born in search 0 with a hot start of 2: tentative in search 1, and confirmed in search 2."""
    rules = replace(RULES, hot_start=2, hot_start_unmatched=9)
    camera.begin(found(square(3)), rules)
    confirmed = []
    for _ in range(2):
        camera.search(found(), rules)
        confirmed.append(camera.concepts.tracks[1].confirmed)
    assert confirmed == [False, True]


@pytest.mark.parametrize(("first_at_any_score", "births"), [(True, (0,)), (False, ())])
def test_while_nothing_is_tracked_the_rules_may_let_every_score_begin(
    camera: Camera, first_at_any_score: bool, births: tuple[int, ...]
) -> None:
    rules = replace(RULES, first_at_any_score=first_at_any_score)
    assert camera.search(found(square(3), score=0.6), rules).births == births
    camera.begin(found(square(20), phrase="plate"))
    assert camera.search(found(square(3), score=0.6), rules).births == ()


def test_a_search_knows_how_many_places_are_free(camera: Camera) -> None:
    for x in (20, 60, 100):
        camera.stream.add_prompt(Prompt(points=[[x, 80]]))
    plan = camera.search(found(square(3), square(20)), replace(RULES, across_concepts=False))
    assert [one.association for one in plan.decisions] == [Association.NEW, Association.LIMIT_REACHED]
    assert plan.out_of_places


def test_a_frame_that_was_handed_out_is_searched_with_what_is_known_of_it_now(camera: Camera) -> None:
    handed_out = camera.newest
    one = camera.begin(found(square(3)))
    assert not handed_out.objects
    again = camera.search(found(square(3)), frame=handed_out)
    assert again.decisions == (Decision(Association.TRACKED, one.object_id),)


def test_confident_tracks_get_a_conditioning_memory_of_the_frame_that_was_searched(camera: Camera) -> None:
    rules = replace(RULES, recondition_every=1, recondition_score=0.5)
    camera.begin(found(square(3)), rules)
    camera.step()
    searched = camera.newest
    camera.step()
    plan = camera.search(found(searched.objects[1].low_res), rules, frame=searched, counted=False)
    index = camera.stream._state.find(1).latest.index
    assert (dict(plan.reconditioned), index.conditioning.before(9)) == ({1: 0}, [0]), "asked for once: it is planned"
    camera.search(found(searched.objects[1].low_res), rules, frame=searched)
    assert camera.stream._state.find(1).latest.index.conditioning.before(9) == [0, 1]


# --- How an object begins ---------------------------------------------------------------------------------------------


def test_an_object_begins_with_the_detections_phrase_and_score(camera: Camera) -> None:
    one = camera.begin(found(square(3), score=0.75), replace(RULES, keep_alive_start=7))
    assert one == Track(1, "cup", born=0, score=0.75, keep_alive=7)
    assert [(info.object_id, info.label) for info in camera.stream.objects] == [(1, "the cups")]
    mask = camera.newest.mask_of(1, 0.0)
    assert mask is not None
    assert mask.box == (12, 12, 44, 36), "8 places of 4 x 3 px"


@pytest.mark.parametrize(
    ("rules", "how", "confirmed"),
    [(RULES, {}, False), (replace(RULES, hot_start=0), {}, True), (RULES, {"confirmed": True}, True)],
)
def test_who_begins_is_tentative_where_searches_may_withdraw_it(
    camera: Camera, rules: ConceptRules, how: dict[str, bool], confirmed: bool
) -> None:
    camera.search(found(), rules)  # the concept is followed
    assert camera.begin(found(square(3)), rules, **how).confirmed is confirmed


def test_a_concept_that_nobody_follows_confirms_at_once(camera: Camera) -> None:
    detections = found(square(3))
    plan = camera.search(detections, counted=False)
    decision = camera.concepts.begin(camera.newest, detections, 0, plan, RULES)
    assert decision == Decision(Association.NEW, 1)
    assert camera.concepts.tracks[1] == Track(1, "cup", 0, pytest.approx(0.9), RULES.keep_alive_start, confirmed=True)


def test_the_detection_that_is_meant_begins(camera: Camera) -> None:
    detections = replace(found(square(3), square(20)), scores=torch.tensor([0.75, 0.875]))
    plan = camera.search(detections)
    camera.concepts.begin(camera.newest, detections, 1, plan, RULES)
    assert camera.concepts.tracks[1].score == 0.875
    mask = camera.newest.mask_of(1, 0.0)
    assert mask is not None
    assert mask.box == (80, 12, 112, 36)


def test_an_object_begins_on_the_frame_that_was_searched(camera: Camera) -> None:
    searched = camera.newest
    for _ in range(4):
        camera.step()
    camera.begin(found(square(3)), frame=searched)
    (info,) = camera.stream.objects
    assert (info.first_frame, info.phase) == (0, ObjectPhase.CATCHING_UP)


def test_a_lost_object_is_renewed_and_keeps_its_label(camera: Camera, micro_tracker: Tracker) -> None:
    camera.begin(found(square(3)))
    camera.stream.rename(1, "my cup")
    with blinded(micro_tracker):
        assert camera.step() == {"cup"}
        for _ in range(2):
            camera.search(found(), replace(RULES, hot_start=99))
        detections = found(square(20), score=0.6)
        plan = camera.search(detections)
        assert plan.decisions == (Decision(Association.REIDENTIFIED, 1),)
        assert plan.tracks[0].not_seen == 3
        assert camera.concepts.begin(camera.newest, detections, 0, plan, RULES) == plan.decisions[0]
    one = camera.concepts.tracks[1]
    assert (one.score, one.not_seen, one.born) == (pytest.approx(0.6), 0, 0)
    (info,) = camera.stream.objects
    assert (info.label, info.first_frame) == ("my cup", 1)
    assert camera.concepts._last_seen == {}


def test_a_lost_object_that_is_no_track_any_more_is_renewed_all_the_same(
    camera: Camera, micro_tracker: Tracker
) -> None:
    """Between the search and the beginning somebody may forget its track."""
    camera.begin(found(square(3)))
    with blinded(micro_tracker):
        camera.step()
        detections = found(square(20))
        plan = camera.search(detections)
        camera.concepts.tracks = {}
        assert camera.concepts.begin(camera.newest, detections, 0, plan, RULES).object_id == 1
    assert camera.concepts.tracks == {}


# --- Objects that are given to a concept, and concepts that are let go ------------------------------------------------


def test_an_adopted_object_is_a_confirmed_track_among_the_others_in_the_order_of_ids(camera: Camera) -> None:
    camera.stream.add_prompt(Prompt(points=[[100, 80]]))
    for _ in range(2):
        camera.search(found())
    camera.begin(found(square(3)))
    camera.concepts.adopt(1, "the Cups")
    assert list(camera.concepts.tracks) == [1, 2]
    assert camera.concepts.tracks[1] == Track(1, "cup", born=2, score=0.0, keep_alive=30, confirmed=True)
    camera.concepts.adopt(1, "plate")
    assert (camera.concepts.tracks[1].concept, camera.concepts.tracks[1].born) == ("plate", 0)


def test_a_released_concepts_tracks_stay_for_good(camera: Camera) -> None:
    camera.begin(found(square(3)))
    camera.begin(found(square(20), phrase="plate"))
    camera.concepts._hidden = {"cup": frozenset({1}), "plate": frozenset({2})}
    camera.concepts.tracks = {i: replace(one, shared={7: 1}) for i, one in camera.concepts.tracks.items()}
    camera.concepts.release("the cup")
    cup, plate = camera.concepts.tracks.values()
    assert (cup.confirmed, dict(cup.shared)) == (True, {})
    assert (plate.confirmed, dict(plate.shared)) == (False, {7: 1})
    assert (list(camera.concepts._searches), list(camera.concepts._hidden)) == (["plate"], ["plate"])
    camera.concepts.release("fork")
    camera.concepts.release()
    assert [one.confirmed for one in camera.concepts.tracks.values()] == [True, True]
    assert (camera.concepts._searches, camera.concepts._hidden) == ({}, {})


# --- What is seen -----------------------------------------------------------------------------------------------------


def test_a_loss_is_told_once_each_time_with_the_place_where_it_was(camera: Camera, micro_tracker: Tracker) -> None:
    camera.begin(found(square(3)))
    assert camera.step() == frozenset()
    last = camera.newest.mask_of(1, 0.0)
    assert last is not None
    with blinded(micro_tracker):
        assert [camera.step() for _ in range(3)] == [{"cup"}, frozenset(), frozenset()]
    assert camera.concepts._last_seen == {1: (last.centre[0] / 128, last.centre[1] / 96)}
    assert camera.step() == frozenset()
    assert camera.concepts._last_seen == {}, "it is seen again"
    with blinded(micro_tracker):
        assert camera.step() == {"cup"}


def test_the_loss_of_an_object_that_no_concept_found_concerns_none(camera: Camera, micro_tracker: Tracker) -> None:
    camera.stream.add_prompt(Prompt(points=[[100, 80]]))
    camera.step()
    with blinded(micro_tracker):
        assert camera.step() == frozenset()


def test_an_object_that_catches_up_is_not_lost_meanwhile(camera: Camera, micro_tracker: Tracker) -> None:
    searched = camera.newest
    for _ in range(6):
        camera.step()
    camera.begin(found(square(3)), frame=searched)
    with blinded(micro_tracker):
        losses = [camera.step() for _ in range(8)]
    assert losses.count(frozenset({"cup"})) == 1
    assert losses[0] == frozenset(), "it is still on its way"


def test_removed_objects_are_forgotten_everywhere(camera: Camera) -> None:
    camera.begin(found(square(3)))
    camera.begin(found(square(20), phrase="plate"))
    camera.concepts._hidden = {"cup": frozenset({1, 2})}
    camera.concepts._last_seen = {1: (0.5, 0.5), 2: (0.5, 0.5)}
    assert camera.concepts._visible == {1, 2}
    camera.concepts._visible = frozenset({1})  # the other one is lost already
    camera.stream.remove(1)
    camera.search(found(), counted=False)
    assert list(camera.concepts.tracks) == [2]
    assert camera.concepts._hidden == {"cup": frozenset({2})}
    assert camera.concepts._last_seen == {2: (0.5, 0.5)}
    assert camera.concepts._visible == frozenset()


def test_the_stream_says_how_many_objects_there_may_be(camera: Camera) -> None:
    assert camera.concepts.max_objects == 4
    assert camera.concepts.rules == LIVE
    camera.begin(found(square(3)))
    assert camera.concepts.step(IMAGE, 1).result.statuses[1].state is TrackState.TENTATIVE
