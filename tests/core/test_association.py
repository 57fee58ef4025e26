"""Cropped masks, the schedule of searches, and detections that come late to a real stream."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sam_core import CapacityError, Prompt, StampError, Tracker
from sam_core.association import (
    LIVE,
    Association,
    ConceptTracker,
    Decision,
    FollowedConcept,
    Instance,
    RedetectionSchedule,
    concept_key,
    hand_over,
)
from sam_core.streaming import CroppedMask, Frame, ObjectState, Stream

H, W = 40, 60


def box(x_min: int, y_min: int, x_max: int, y_max: int, size: tuple[int, int] = (H, W)) -> CroppedMask:
    mask = np.zeros(size, bool)
    mask[y_min:y_max, x_min:x_max] = True
    return CroppedMask.of(mask)


def cup(mask: CroppedMask, score: float = 0.9, phrase: str = "cup") -> Instance:
    return Instance(phrase, score, mask)


# --- Masks ------------------------------------------------------------------------------------------------------------


def test_a_mask_is_cropped_to_its_pixels_and_comes_back_whole() -> None:
    mask = np.zeros((H, W), bool)
    mask[3, 5] = mask[7, 20] = True
    cropped = CroppedMask.of(mask)
    assert cropped.box == (5, 3, 21, 8)
    assert cropped.pixels.shape == (5, 16)
    assert (cropped.area, cropped.centre) == (2, (13.0, 5.5))
    np.testing.assert_array_equal(cropped.full(), mask)
    mask[:] = True
    assert cropped.area == 2, "it shares no memory"


def test_an_empty_mask_overlaps_nothing() -> None:
    empty = CroppedMask.of(np.zeros((H, W), bool))
    assert (empty.box, empty.area) == ((0, 0, 0, 0), 0)
    assert not empty.full().any()
    assert empty.overlap(empty) == 0
    assert empty.overlap(box(0, 0, W, H)) == 0


def test_overlap_is_intersection_over_union() -> None:
    square = box(10, 10, 20, 20)
    assert square.overlap(square) == 1
    assert square.overlap(box(15, 10, 25, 20)) == 50 / 150
    assert square.overlap(box(20, 10, 30, 20)) == 0
    assert square.overlap(box(10, 10, 20, 20, size=(H, W + 1))) == 0
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.random((2, 9, 11)) < rng.random((2, 1, 1))
        expected = (a & b).sum() / max((a | b).sum(), 1)
        assert CroppedMask.of(a).overlap(CroppedMask.of(b)) == expected


def test_concepts_differ_by_more_than_case_and_spacing() -> None:
    assert concept_key(" Yellow  CUP\n") == concept_key("yellow cup") != concept_key("yellowcup")


# --- Redetection schedule ---------------------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_followed_concept_is_due_at_once_and_then_every_period() -> None:
    clock = Clock()
    schedule = RedetectionSchedule(clock)
    assert (schedule.wait(), schedule.take_due()) == (None, ())
    cups = FollowedConcept("cup", 5.0)
    schedule.follow(cups)
    assert schedule.wait() == 0
    assert schedule.take_due() == (cups,)
    assert (schedule.wait(), schedule.take_due()) == (5, ())
    clock.now += 4
    schedule.follow(FollowedConcept("plate", 2.0))
    assert [concept.phrase for concept in schedule.take_due()] == ["plate"]
    assert schedule.wait() == 1
    clock.now += 2
    assert [concept.phrase for concept in schedule.take_due()] == ["cup", "plate"]
    assert schedule.phrases == ("cup", "plate")


def test_a_loss_makes_its_concept_due_and_no_other() -> None:
    schedule = RedetectionSchedule(Clock())
    schedule.follow(FollowedConcept("Cup", 5.0))
    schedule.follow(FollowedConcept("plate", 5.0))
    schedule.take_due()
    assert not schedule.lost(["fork"])
    assert not schedule.take_due()
    assert schedule.lost(["cup", "fork"])
    assert [concept.phrase for concept in schedule.take_due()] == ["Cup"]


def test_schedule_again_changes_the_settings_and_unschedule_ends_it() -> None:
    schedule = RedetectionSchedule(Clock())
    schedule.follow(FollowedConcept("cup", 5.0))
    schedule.follow(FollowedConcept("CUP ", 1.0))
    assert [concept.period for concept in schedule.take_due()] == [1.0]
    assert schedule.unfollow(" Cup")
    assert not schedule.unfollow("cup")
    assert schedule.wait() is None
    assert not schedule.unfollow_all()
    schedule.follow(FollowedConcept("cup", 5.0))
    assert schedule.unfollow_all()
    assert schedule.take_due() == ()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"phrase": " ", "period": 1.0}, "empty"),
        ({"phrase": "cup", "period": 0.0}, "above 0"),
        ({"phrase": "cup", "period": float("inf")}, "above 0"),
        ({"phrase": "cup", "period": float("nan")}, "above 0"),
        ({"phrase": "cup", "period": 1.0, "every_n_frames": -1}, "within"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        FollowedConcept(**settings)


def test_a_concept_that_counts_frames_is_due_after_so_many_and_never_by_the_clock() -> None:
    clock = Clock()
    schedule = RedetectionSchedule(clock)
    cups = FollowedConcept("cup", every_n_frames=3)
    schedule.follow(cups)
    assert schedule.take_due() == (cups,), "at once"
    clock.now += 1e6
    assert (schedule.wait(), schedule.take_due()) == (None, ())
    assert [schedule.frame_came() for _ in range(4)] == [False, False, True, True], "due until it is taken"
    assert schedule.wait() == 0
    assert schedule.take_due() == (cups,)
    assert not schedule.frame_came()
    assert schedule.lost(["cup"]), "a lost object does not wait for its frames"
    assert schedule.take_due() == (cups,)


def test_the_schedule_tells_what_is_still_followed_and_takes_other_rules() -> None:
    schedule = RedetectionSchedule(Clock())
    cups = FollowedConcept("cup")
    schedule.follow(cups)
    assert schedule.follows(cups)
    schedule.replace_rules(lambda rules: replace(rules, hot_start=3))
    assert [concept.rules.hot_start for concept in schedule.take_due()] == [3]
    assert schedule.follows(cups), "other rules are no other wish"
    schedule.follow(FollowedConcept("cup", period=2.0))
    assert not schedule.follows(cups)
    assert schedule.unfollow("cup")
    assert not schedule.follows(cups)


# --- From an instance to a track --------------------------------------------------------------------------------------

SIZE = (96, 128)


def image_of(index: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    image = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return np.roll(image, 2 * index, axis=1)


class Camera:
    """A stream, and what associations need of it."""

    def __init__(self, tracker: Tracker, **settings: Any) -> None:
        self.stream: Stream = tracker.open_stream(max_objects=4, **settings)
        self.concepts = ConceptTracker(self.stream)
        self.logits: list[dict[int, torch.Tensor]] = []  # of each frame, by object

    def step(self, stamp: int | None = None) -> frozenset[str]:
        index = len(self.logits)
        outcome = self.concepts.step(image_of(index), index if stamp is None else stamp)
        self.logits.append(dict(zip(outcome.result.object_ids, outcome.result.mask_logits, strict=True)))
        return outcome.lost

    def track(self, frame: int | Frame, instance: Instance, **rules: Any) -> Decision:
        searched = self.stream.history.numbered(frame) if isinstance(frame, int) else frame
        assert searched is not None
        chosen = replace(LIVE, **rules)
        outcome = hand_over(
            lambda call: call(self.concepts), searched, instance.phrase, [instance], chosen, counted=False
        )
        if outcome.problems:
            raise outcome.problems[0]
        (decision,) = outcome.decisions
        assert decision is not None
        return decision


def test_an_instance_is_tracked_from_the_frame_that_it_was_found_on(micro_tracker: Tracker) -> None:
    """Six frames late it ends as if it had been prompted in time, and does not change the other object."""
    found = [cup(box(10, 10, 50, 40, SIZE)), cup(box(70, 50, 120, 90, SIZE), 0.8)]
    late, prompt, alone = Camera(micro_tracker), Camera(micro_tracker), Camera(micro_tracker)
    for camera in (late, prompt, alone):
        camera.step()
        camera.stream.add_prompt(Prompt(points=[[30, 80]]))
        camera.step()
    expected = [prompt.track(1, instance, match_iou=0.9) for instance in found]  # random masks are large
    for _ in range(2, 8):
        for camera in (late, prompt, alone):
            camera.step()
    assert [late.track(1, instance, match_iou=0.9) for instance in found] == expected
    assert [decision.association for decision in expected] == [Association.NEW, Association.NEW]
    assert [o.frames_behind for o in late.stream.objects] == [0, 6, 6]
    for _ in range(8, 14):
        for camera in (late, prompt, alone):
            camera.step()
        for i, logits in alone.logits[-1].items():
            torch.testing.assert_close(late.logits[-1][i], logits, rtol=1e-4, atol=1e-4)
    assert [o.frames_behind for o in late.stream.objects] == [0, 0, 0]
    for decision in expected:
        i = decision.object_id
        assert i is not None
        torch.testing.assert_close(late.logits[13][i], prompt.logits[13][i], rtol=1e-4, atol=1e-4)


def test_nothing_is_tracked_twice(micro_tracker: Tracker) -> None:
    camera = Camera(micro_tracker)
    for _ in range(3):
        camera.step()
    instance = cup(box(10, 10, 50, 40, SIZE))
    first = camera.track(1, instance)
    assert first.association is Association.NEW
    for again in (
        camera.track(1, instance),
        camera.track(1, cup(instance.mask, phrase="mug")),
        camera.track(2, instance),  # it has not arrived there yet: its mask on frame 1 is the nearest
    ):
        assert (again.association, again.object_id) == (Association.TRACKED, first.object_id)
    assert [(o.object_id, o.label) for o in camera.stream.objects] == [(first.object_id, "cup")]


def test_the_frame_that_was_searched_may_be_older_than_what_is_known_of_it(micro_tracker: Tracker) -> None:
    """A detector takes a frame and searches it for some time; another detection on it comes first."""
    camera = Camera(micro_tracker)
    camera.step()
    searched = camera.stream.history.frame_at()
    instance = cup(box(10, 10, 50, 40, SIZE))
    assert camera.track(searched, instance).association is Association.NEW
    camera.step()
    assert not searched.objects
    assert camera.track(searched, instance).association is Association.TRACKED


def test_a_lost_object_keeps_its_id_and_goes_on_from_the_detection(micro_tracker: Tracker) -> None:
    """Also long after the last frame that showed it has left the history."""
    camera = Camera(micro_tracker, history_frames=4)
    camera.step()
    first = camera.track(0, cup(box(10, 10, 50, 40, SIZE)))
    camera.step()
    last = camera.stream.history.frame_at().mask_of(1, 0.0)
    bias = micro_tracker.model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias
    kept = bias.detach().clone()
    with torch.inference_mode():
        bias.fill_(-100.0)  # nothing is there any more, says the network
    try:
        assert camera.step() == {"cup"}
        for _ in range(6):
            assert camera.step() == frozenset()
        assert [o.state for o in camera.stream.objects] == [ObjectState.ABSENT]
        assert last is not None
        height, width = SIZE
        assert camera.concepts._last_seen == {1: (last.centre[0] / width, last.centre[1] / height)}
    finally:
        with torch.inference_mode():
            bias.copy_(kept)
    back = camera.track(8, cup(box(60, 20, 90, 60, SIZE), 0.55, phrase="Cup"))
    assert (back.association, back.object_id) == (Association.REIDENTIFIED, first.object_id)
    assert camera.track(8, cup(box(62, 22, 90, 60, SIZE))).association is Association.TRACKED
    camera.step()
    assert [(o.object_id, o.label, o.state) for o in camera.stream.objects] == [(1, "cup", ObjectState.TRACKED)]
    assert camera.stream.objects[0].first_frame == 8, "it was renewed"


def test_frames_of_equal_stamps_are_told_apart_by_their_numbers(micro_tracker: Tracker) -> None:
    """A camera without a clock stamps every image with zero."""
    camera = Camera(micro_tracker)
    camera.step(stamp=0)
    searched = camera.stream.history.frame_at()
    camera.step(stamp=0)
    assert camera.track(searched, cup(box(10, 10, 50, 40, SIZE))).association is Association.NEW
    assert [o.first_frame for o in camera.stream.objects] == [0]


def test_what_cannot_be_tracked_changes_nothing(micro_tracker: Tracker) -> None:
    camera = Camera(micro_tracker, history_frames=3)
    camera.step()
    gone = camera.stream.history.frame_at()
    for _ in range(5):
        camera.step()
    with pytest.raises(StampError, match="Frame 0 is not at hand: the oldest is 3, the newest 5"):
        camera.track(gone, cup(box(10, 10, 50, 40, SIZE)))
    assert camera.stream.objects == ()
    for x in range(0, 120, 30):
        camera.track(4, cup(box(x, 0, x + 20, 20, SIZE)), match_iou=1.0)
    with pytest.raises(CapacityError):
        camera.track(4, cup(box(0, 60, 20, 80, SIZE)), match_iou=1.0)
    assert len(camera.stream.objects) == 4
    assert list(camera.concepts.tracks) == [1, 2, 3, 4]
