"""The concept tracker in the step of a frame: a detector that is told what to find, and a real stream."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_core import Prompt, Tracker
from sam_core.association import (
    LIVE,
    ConceptDetections,
    ConceptResult,
    ConceptRules,
    ConceptTracker,
    Detect,
    FollowedConcept,
    Removal,
)
from sam_core.streaming import Frame, ObjectState, Origin
from tests.core.association.blinded import blinded

SIDE = 32  # of the network's masks
SIZE = (96, 128)
IMAGE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
RULES = replace(LIVE, hot_start=6, hot_start_unmatched=3, overlap_iou=0.0, new_score=0.7)
CUP = FollowedConcept("the cups", rules=RULES)
PLATE = FollowedConcept("plate", rules=RULES)
EVERY_SEARCH = replace(RULES, recondition_every=1, match_iou=0.01, recondition_iou=0.01, recondition_score=0.5)


def square(x: int, y: int = 4) -> Tensor:
    logits = torch.full((SIDE, SIDE), -5.0)
    logits[y : y + 8, x : x + 8] = 5.0
    return logits


def dot() -> Tensor:
    """Return a mask of one place that is so unsure that nothing of it is left at the image's size."""
    logits = torch.full((SIDE, SIDE), -5.0)
    logits[4, 4] = 0.1
    return logits


def found(phrase: str, *where: Tensor, score: float = 0.9) -> ConceptDetections:
    masks = torch.stack(where) if where else torch.zeros(0, SIDE, SIDE)
    return ConceptDetections(phrase, torch.full((len(where),), score), masks)


def finding(**by_phrase: ConceptDetections) -> Detect:
    """Return a detector that finds the same on every frame, and nothing of other phrases."""

    def detect(frame: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections]:
        yield from (by_phrase.get(phrase.replace("the ", ""), found(phrase)) for phrase in phrases)

    return detect


def confirming(concepts: ConceptTracker, *object_ids: int, score: float = 0.9) -> Detect:
    """Return a detector that finds objects where they were on the frame before."""

    def detect(frame: Frame, phrases: tuple[str, ...]) -> Iterable[ConceptDetections]:
        before = concepts.stream.history.frames[-1].objects
        return [found(phrases[0], *(before[i].low_res for i in object_ids), score=score)]

    return detect


class Camera:
    """A stream of four places, and a concept tracker that is stepped through the same image again and again."""

    def __init__(self, tracker: Tracker, rules: ConceptRules = RULES, **settings: Any) -> None:
        stream = tracker.open_stream(**{"max_objects": 4, "reconditioning": True, **settings})
        self.concepts = ConceptTracker(stream, rules)
        self.stream = stream

    def step(self, *concepts: FollowedConcept, detect: Detect | None = None) -> ConceptResult:
        return self.concepts.step(IMAGE, self.stream.report().frames, "header", concepts=concepts, detect=detect)

    def prompt(self, *, at: tuple[float, float] = (100.0, 80.0)) -> int:
        return self.stream.add_prompt(Prompt(points=[at])).object_ids[0]


@pytest.fixture
def camera(micro_tracker: Tracker) -> Camera:
    return Camera(micro_tracker)


# --- Without a search -------------------------------------------------------------------------------------------------


def test_without_a_detector_or_concepts_a_step_is_the_streams(camera: Camera) -> None:
    for result in (camera.step(CUP), camera.step(detect=finding(cups=found("cup", square(3))))):
        assert (len(result.result), dict(result.tracks), result.searched, result.search_failed) == (0, {}, (), False)
        assert (result.detection_seconds, result.association_seconds) == (0.0, 0.0)
    newest = camera.stream.history.newest
    assert newest is not None
    assert (newest.number, newest.stamp, newest.source) == (1, 1, "header")


def test_between_searches_tracks_go_on_and_say_what_found_them(camera: Camera) -> None:
    camera.step(CUP, detect=finding(cups=found("the cups", square(3))))
    between = camera.step()
    assert between.result.origins == {1: Origin("cup", False, pytest.approx(0.9))}
    assert (between.searched, between.born, dict(between.removed)) == ((), (), {})
    assert list(between.tracks) == [1]
    assert between.association_seconds > 0, "the rules hold on every frame"


# --- What begins ------------------------------------------------------------------------------------------------------


def test_what_a_search_finds_begins_on_its_frame_with_the_mask_as_it_was_detected(camera: Camera) -> None:
    result = camera.step(
        CUP, PLATE, detect=finding(cups=found("the cups", square(3), square(20)), plate=found("plate"))
    )
    assert result.result.object_ids == result.born == (1, 2)
    assert result.result.labels == ("the cups", "the cups")
    assert result.searched == ("the cups", "plate")
    assert result.result.states == (ObjectState.TRACKED, ObjectState.TRACKED)
    assert result.result.boxes.tolist() == [[12, 12, 44, 36], [80, 12, 112, 36]], "8 places of 4 x 3 px"
    assert (result.problems, result.lost, result.reconditioned, result.reidentified) == ((), frozenset(), (), ())
    for object_id, one in result.tracks.items():
        assert (one.object_id, one.concept, one.born, one.keep_alive) == (object_id, "cup", 0, 30)
        assert (one.score, one.confirmed, one.last_occluded) == (pytest.approx(0.9), False, -1)


def test_a_track_is_born_in_the_search_of_its_concept_that_found_it(camera: Camera) -> None:
    for _ in range(3):
        camera.step(CUP, detect=finding())
    result = camera.step(CUP, PLATE, detect=finding(cups=found("cup", square(3)), plate=found("plate", square(20))))
    assert [(one.concept, one.born) for one in result.tracks.values()] == [("cup", 3), ("plate", 0)]


def test_a_small_hole_of_a_detected_mask_is_filled_where_it_is_shown(camera: Camera) -> None:
    hollow = square(3)
    hollow[7, 7] = -5.0
    areas = []
    for mask, area in ((square(3), 0), (hollow, 0), (hollow, 1)):
        concept = FollowedConcept("cup", rules=replace(RULES, fill_hole_area=area))
        areas.append(int(camera.step(concept, detect=finding(cup=found("cup", mask))).result.areas[0]))
        camera.stream.reset()
    whole, with_hole, filled = areas
    assert with_hole < whole == filled


@pytest.mark.parametrize(("first_at_any_score", "born"), [(True, (1,)), (False, ())])
def test_while_nothing_is_tracked_the_rules_may_let_every_score_begin(
    camera: Camera, first_at_any_score: bool, born: tuple[int, ...]
) -> None:
    concept = FollowedConcept("cup", rules=replace(RULES, first_at_any_score=first_at_any_score))
    detect = finding(cup=found("cup", square(3), score=0.6))
    assert camera.step(concept, detect=detect).born == born


def test_beside_any_track_a_new_one_needs_its_score(camera: Camera) -> None:
    camera.step(PLATE, detect=finding(plate=found("plate", square(20))))
    concept = FollowedConcept("cup", rules=replace(RULES, first_at_any_score=True))
    assert camera.step(concept, detect=finding(cup=found("cup", square(3), score=0.6))).born == ()


def test_all_concepts_together_begin_as_many_objects_as_there_are_places(camera: Camera) -> None:
    """Of four, one is taken by an object that somebody prompted, two by cups: one plate begins."""
    camera.step()
    camera.prompt()
    rules = replace(RULES, across_concepts=False)
    cup, plate = (FollowedConcept(phrase, rules=rules) for phrase in ("cup", "plate"))
    two, three = found("cup", square(3), square(20)), found("plate", square(3, 20), square(12, 20), square(22, 20))
    result = camera.step(cup, plate, detect=finding(cup=two, plate=three))
    assert [one.concept for one in result.tracks.values()] == ["cup", "cup", "plate"]
    assert result.problems == (), "what finds no place was planned so"


def test_a_detection_that_the_network_refuses_is_a_problem_and_the_others_begin(camera: Camera) -> None:
    detect = finding(cups=found("cup", dot(), square(20)), plate=found("plate", square(20, 20)))
    result = camera.step(CUP, PLATE, detect=detect)
    assert result.problems == (
        "a detection of 'the cups' is not tracked: The mask is empty: no pixel belongs to the object.",
    )
    assert [one.concept for one in result.tracks.values()] == ["cup", "plate"]
    assert result.born == (1, 2)
    assert not result.search_failed


def test_problems_of_the_search_come_before_those_of_objects(camera: Camera) -> None:
    def broken(frame: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections]:
        raise RuntimeError("ill")
        yield

    result = camera.step(CUP, detect=broken)
    assert (result.search_failed, result.searched) == (True, ())
    assert result.problems == ("the detector failed on this image: RuntimeError: ill",)


# --- What goes on -----------------------------------------------------------------------------------------------------


def test_a_search_counts_for_the_tracks_of_its_concept_alone(camera: Camera) -> None:
    camera.step(CUP, PLATE, detect=finding(cups=found("cup", square(3)), plate=found("plate", square(20))))
    result = camera.step(CUP, detect=finding())
    assert [one.unmatched for one in result.tracks.values()] == [1, 0]
    assert [one.keep_alive for one in result.tracks.values()] == [29, 30]


def test_a_track_that_is_not_seen_was_occluded_on_this_frame(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    camera.concepts.rules = replace(RULES, overlap_iou=0.7)
    camera.step(CUP, detect=finding(cups=found("cup", square(3))))
    assert [one.last_occluded for one in camera.step().tracks.values()] == [-1], "it is seen"
    track = camera.stream._tracker._graphs.track

    def without_masks(*given: Any, **options: Any) -> Any:
        tracked = track(*given, **options)
        return replace(tracked, low_res=torch.full_like(tracked.low_res, -5.0))

    with monkeypatch.context() as patch:
        patch.setattr(camera.stream._tracker._graphs, "track", without_masks)
        assert [one.last_occluded for one in camera.step().tracks.values()] == [2]
    assert [one.last_occluded for one in camera.step().tracks.values()] == [2], "and this is kept"


def test_a_track_that_no_search_confirms_ends_and_the_result_says_so(camera: Camera) -> None:
    camera.step(CUP, detect=finding(cups=found("the cups", square(3))))
    prompted = camera.prompt()
    results = [camera.step(CUP, detect=finding()) for _ in range(3)]
    assert [dict(result.removed) for result in results] == [{}, {}, {1: Removal.UNMATCHED}]
    assert (results[-1].result.object_ids, dict(results[-1].tracks)) == ((prompted,), {})
    assert [info.object_id for info in camera.stream.objects] == [prompted]
    assert {i: one.reason for i, one in camera.concepts.ended.items()} == {1: "the detector did not confirm it"}
    assert camera.step().removed == {}
    assert camera.concepts.ended == {}


def test_a_lost_track_is_found_again_under_its_id(camera: Camera, micro_tracker: Tracker) -> None:
    camera.step(CUP, detect=finding(cups=found("cup", square(3))))
    camera.step()
    with blinded(micro_tracker):
        lost = camera.step()
        assert (lost.lost, lost.result.states) == (frozenset({"cup"}), (ObjectState.ABSENT,))
        assert camera.step(CUP, detect=finding()).lost == frozenset(), "told once"
        back = camera.step(CUP, detect=finding(cups=found("cup", square(20), score=0.6)))
    assert (back.reidentified, back.born, back.problems) == ((1,), (), ())
    assert back.result.boxes.tolist() == [[80, 12, 112, 36]]
    assert (back.tracks[1].score, back.tracks[1].not_seen) == (pytest.approx(0.6), 0)
    assert camera.stream.objects[0].first_frame == 4, "it was renewed"
    assert camera.concepts._last_seen == {}
    assert camera.step().result.states == (ObjectState.TRACKED,)


def test_confident_tracks_get_a_conditioning_memory(camera: Camera) -> None:
    concept = FollowedConcept("cup", rules=EVERY_SEARCH)
    camera.step(concept, detect=finding(cup=found("cup", square(3))))
    result = camera.step(concept, detect=confirming(camera.concepts, 1))
    assert result.reconditioned == (1,)
    assert camera.stream._state.find(1).latest.index.conditioning.before(9) == [0, 1]


def test_without_room_for_it_nothing_is_reconditioned(micro_tracker: Tracker) -> None:
    camera = Camera(micro_tracker, reconditioning=False)
    concept = FollowedConcept("cup", rules=EVERY_SEARCH)
    camera.step(concept, detect=finding(cup=found("cup", square(3))))
    assert camera.step(concept, detect=confirming(camera.concepts, 1)).reconditioned == ()


def test_who_is_removed_is_not_reconditioned(camera: Camera) -> None:
    """It is confident in the search that withdraws it: the rules count eight unmatched searches before."""
    rules = replace(EVERY_SEARCH, hot_start_unmatched=1, unmatched_iou=1.0)
    concept = FollowedConcept("cup", rules=rules)
    camera.step(concept, detect=finding(cup=found("cup", square(3))))
    part = camera.stream.history.frames[-1].objects[1].low_res
    result = camera.step(concept, detect=finding(cup=found("cup", torch.where(part > 0.5, part, -5.0))))
    assert (dict(result.removed), result.reconditioned) == ({1: Removal.UNMATCHED}, ())


def test_hidden_tracks_of_all_concepts_are_suppressed_until_their_next_search(camera: Camera) -> None:
    rules = replace(RULES, hide_unmatched=True, keep_alive_start=1, keep_alive_most=1)
    cup, plate = (FollowedConcept(phrase, rules=rules) for phrase in ("cup", "plate"))
    camera.step(cup, plate, detect=finding(cup=found("cup", square(3)), plate=found("plate", square(20, 20))))
    hiding = camera.step(cup, plate, detect=finding())
    assert hiding.result.states == (ObjectState.ABSENT, ObjectState.ABSENT)
    assert camera.step().result.states == (ObjectState.ABSENT, ObjectState.ABSENT)
    camera.concepts.release("plate")
    assert camera.step().result.states == (ObjectState.ABSENT, ObjectState.TRACKED)


def test_rules_are_for_tracks_of_concepts_that_are_searched_for(camera: Camera) -> None:
    """Once a concept is released, the stream's objects are its own business."""
    camera.step(CUP, detect=finding(cups=found("cup", square(3))))
    assert camera.step().association_seconds > 0
    camera.concepts.release("cups")
    assert camera.step().association_seconds == 0


def test_the_time_of_detector_and_rules_is_told_apart(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector takes 4 s, and the prompt of a new object 2 s."""
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    add_prompt = camera.stream.add_prompt

    def slow_detector(frame: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections]:
        nonlocal now
        now += 4.0
        yield found("cup", square(3))

    def slow_prompt(*given: Any, **options: Any) -> Any:
        nonlocal now
        now += 2.0
        return add_prompt(*given, **options)

    monkeypatch.setattr(camera.stream, "add_prompt", slow_prompt)
    for _ in range(2):  # a frame without objects is searched after the stream's step, one with objects in it
        result = camera.step(CUP, detect=slow_detector)
        assert result.detection_seconds == 4.0
        assert result.association_seconds == 2.0 * len(result.born)
