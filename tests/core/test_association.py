"""Concepts: masks drawn by hand, decisions worked out by hand, and the hand-over to a real stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sam_core import CapacityError, Prompt, StampError, Tracker
from sam_core.concepts import (
    CroppedMask,
    Decision,
    FollowedConcept,
    Following,
    Instance,
    KnownObject,
    MatchRules,
    Sightings,
    Verdict,
    concept_key,
    decide,
    hand_over,
)
from sam_core.streaming import ObjectInfo, ObjectState, Stream

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


# --- Decisions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [20, 25, 28])
def test_an_instance_on_a_tracked_object_is_that_object(right: int) -> None:
    known = [KnownObject(4, "", box(40, 0, 50, 10)), KnownObject(7, "", box(right - 10, 10, right, 20))]
    decision = decide(cup(box(10, 10, 20, 20), score=0.1), known, MatchRules(match_iou=0.1))
    assert (decision.verdict, decision.object_id) == (Verdict.TRACKED, 7)
    assert decision.overlap == pytest.approx((30 - right) / (10 + right - 20))


def test_of_two_tracked_objects_the_better_match_is_meant() -> None:
    known = [KnownObject(1, "", box(10, 10, 16, 20)), KnownObject(2, "", box(12, 10, 20, 20))]
    assert decide(cup(box(10, 10, 20, 20)), known, MatchRules()) == Decision(Verdict.TRACKED, 2, 0.8)


def test_what_overlaps_too_little_is_new_if_its_score_suffices() -> None:
    known = [KnownObject(1, "cup", box(19, 10, 29, 20))]  # IoU 10 / 190
    instance = cup(box(10, 10, 20, 20), score=0.7)
    assert decide(instance, known, MatchRules()) == Decision(Verdict.NEW, None, 10 / 190)
    assert decide(instance, known, MatchRules(match_iou=0.05)).verdict is Verdict.TRACKED
    assert decide(instance, known, MatchRules(new_score=0.71)).verdict is Verdict.UNSURE
    assert decide(instance, [], MatchRules()).verdict is Verdict.NEW


def test_the_limit_counts_objects_of_the_concept_alone() -> None:
    known = [KnownObject(1, "cup", box(0, 0, 5, 5)), KnownObject(2, "plate", box(50, 0, 55, 5))]
    instance = cup(box(10, 10, 20, 20), phrase="  CUP ")
    assert decide(instance, known, MatchRules(max_objects=2)).verdict is Verdict.NEW
    assert decide(instance, known, MatchRules(max_objects=1)).verdict is Verdict.ONE_TOO_MANY


def test_a_lost_object_of_the_concept_is_found_again_whatever_the_score_and_the_limit() -> None:
    lost = KnownObject(3, "cup", box(50, 30, 60, 40), lost=True)
    rules = MatchRules(max_objects=1)
    decision = decide(cup(box(10, 10, 20, 20), score=0.55), [lost], rules)
    assert (decision.verdict, decision.object_id) == (Verdict.FOUND_AGAIN, 3)
    assert decide(cup(box(10, 10, 20, 20), phrase="plate"), [lost], rules).verdict is Verdict.NEW


def test_of_lost_objects_the_one_last_seen_nearest_is_meant() -> None:
    known = [
        KnownObject(1, "cup", None, lost=True),
        KnownObject(2, "cup", box(50, 30, 60, 40), lost=True),
        KnownObject(3, "cup", box(14, 10, 24, 20), lost=True),
    ]
    assert decide(cup(box(10, 10, 20, 20)), known, MatchRules()).object_id == 3
    assert decide(cup(box(45, 25, 55, 35)), known, MatchRules()).object_id == 2
    assert decide(cup(box(45, 25, 55, 35)), known[:1], MatchRules()).object_id == 1


def test_where_a_lost_object_was_seen_last_it_does_not_match() -> None:
    """A lost cup's old place may hold another thing: a plate there is a new object."""
    lost = KnownObject(3, "cup", box(10, 10, 20, 20), lost=True)
    assert decide(cup(box(10, 10, 20, 20), phrase="plate"), [lost], MatchRules()).verdict is Verdict.NEW


def test_an_empty_mask_is_nothing() -> None:
    empty = cup(CroppedMask.of(np.zeros((H, W), bool)))
    assert decide(empty, [KnownObject(1, "cup", None, lost=True)], MatchRules()) == Decision(Verdict.EMPTY)


@pytest.mark.parametrize(
    ("rules", "text"),
    [({"match_iou": 0.0}, "above 0"), ({"match_iou": float("nan")}, "nan"), ({"new_score": 1.1}, "1")],
)
def test_rules_that_make_no_sense_are_refused(rules: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MatchRules(**rules)


def test_concepts_differ_by_more_than_case_and_spacing() -> None:
    assert concept_key(" Yellow  CUP\n") == concept_key("yellow cup") != concept_key("yellowcup")


# --- Sightings --------------------------------------------------------------------------------------------------------

IMAGE = np.zeros((H, W, 3), np.uint8)


def info(object_id: int, state: ObjectState = ObjectState.TRACKED) -> ObjectInfo:
    return ObjectInfo(object_id, "", 0, 0, state, 0.9, 0.9)


def test_the_ring_keeps_the_newest_frames() -> None:
    seen = Sightings(3)
    assert seen.newest is seen.oldest is None
    for stamp in "abcd":
        seen.push(stamp, IMAGE, {}, source=stamp.upper())
    assert len(seen) == 3
    assert (seen.oldest.stamp, seen.newest.stamp) == ("b", "d")  # type: ignore[union-attr]
    assert seen.with_stamp("a") is None
    assert seen.with_stamp("c").source == "C"  # type: ignore[union-attr]
    assert seen.newest.image_size == (H, W)  # type: ignore[union-attr]


def test_a_tracked_object_is_where_it_is_on_the_frame_or_on_the_nearest_with_it() -> None:
    seen = Sightings(9)
    masks = [box(i, 0, i + 10, 10) for i in range(5)]
    for stamp, mask in enumerate(masks):
        seen.push(stamp, IMAGE, {1: mask} if stamp in (0, 3, 4) else {})
    where = {stamp: seen.known([info(1)], seen.with_stamp(stamp))[0].mask for stamp in range(5)}  # type: ignore[arg-type]
    assert where == {0: masks[0], 1: masks[0], 2: masks[3], 3: masks[3], 4: masks[4]}
    assert seen.known([info(2)], seen.newest)[0].mask is None  # type: ignore[arg-type]


def test_an_object_is_lost_where_it_is_seen_neither_then_nor_now() -> None:
    seen = Sightings(2)
    seen.push(0, IMAGE, {1: box(0, 0, 9, 9)})
    seen.note(0, 1, box(0, 0, 9, 9), "cup")
    for stamp in (1, 2, 3):
        seen.push(stamp, IMAGE, {1: None})
    (now,) = seen.known([info(1, ObjectState.ABSENT)], seen.newest)  # type: ignore[arg-type]
    assert (now.lost, now.concept) == (True, "cup")
    assert now.mask is not None
    assert now.mask.box == (0, 0, 9, 9), "where it was last, though that frame has left the ring"
    seen.note(3, 1, box(5, 5, 9, 9))
    (now,) = seen.known([info(1, ObjectState.ABSENT)], seen.newest)  # type: ignore[arg-type]
    assert (now.lost, now.concept) == (False, "cup"), "a prompt has just put it there"


def test_a_lost_object_is_told_once_by_its_concept() -> None:
    seen = Sightings(2)
    mask = box(0, 0, 9, 9)
    seen.push(0, IMAGE, {1: mask, 2: mask, 3: mask})
    seen.note(0, 1, mask, "cup")
    seen.note(0, 2, mask, "plate")
    empty = CroppedMask.of(np.zeros((H, W), bool))
    assert seen.push(1, IMAGE, {1: mask, 2: None, 3: None}) == {"plate"}, "3 was found by no concept"
    assert seen.push(2, IMAGE, {1: empty, 2: None}) == {"cup"}
    assert seen.push(3, IMAGE, {1: None, 2: None}) == frozenset()
    assert seen.push(4, IMAGE, {1: mask, 2: None}) == frozenset()
    assert seen.push(5, IMAGE, {}) == frozenset(), "who is removed is not lost"


def test_an_object_that_is_gone_right_after_its_prompt_is_lost() -> None:
    seen = Sightings(9)
    seen.push(0, IMAGE, {})
    seen.note(0, 1, box(0, 0, 9, 9), "cup")
    assert seen.push(1, IMAGE, {}) == frozenset(), "it is still catching up"
    assert seen.push(2, IMAGE, {1: None}) == {"cup"}


def test_removed_objects_are_forgotten() -> None:
    seen = Sightings(2)
    seen.push(0, IMAGE, {1: box(0, 0, 9, 9)})
    seen.note(0, 1, box(0, 0, 9, 9), "cup")
    seen.forget(1)
    assert seen.push(1, IMAGE, {1: None}) == frozenset()
    assert seen.known([info(1)], seen.newest)[0].concept == ""  # type: ignore[arg-type]


# --- Following --------------------------------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_followed_concept_is_due_at_once_and_then_every_period() -> None:
    clock = Clock()
    following = Following(clock)
    assert (following.wait(), following.take_due()) == (None, ())
    cups = FollowedConcept("cup", 5.0)
    following.follow(cups)
    assert following.wait() == 0
    assert following.take_due() == (cups,)
    assert (following.wait(), following.take_due()) == (5, ())
    clock.now += 4
    following.follow(FollowedConcept("plate", 2.0))
    assert [concept.phrase for concept in following.take_due()] == ["plate"]
    assert following.wait() == 1
    clock.now += 2
    assert [concept.phrase for concept in following.take_due()] == ["cup", "plate"]
    assert following.phrases == ("cup", "plate")


def test_a_loss_makes_its_concept_due_and_no_other() -> None:
    following = Following(Clock())
    following.follow(FollowedConcept("Cup", 5.0))
    following.follow(FollowedConcept("plate", 5.0))
    following.take_due()
    assert not following.lost(["fork"])
    assert not following.take_due()
    assert following.lost(["cup", "fork"])
    assert [concept.phrase for concept in following.take_due()] == ["Cup"]


def test_following_again_changes_the_settings_and_unfollowing_ends_it() -> None:
    following = Following(Clock())
    following.follow(FollowedConcept("cup", 5.0))
    following.follow(FollowedConcept("CUP ", 1.0))
    assert [concept.period for concept in following.take_due()] == [1.0]
    assert following.unfollow(" Cup")
    assert not following.unfollow("cup")
    assert following.wait() is None
    assert not following.unfollow_all()
    following.follow(FollowedConcept("cup", 5.0))
    assert following.unfollow_all()
    assert following.take_due() == ()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"phrase": " ", "period": 1.0}, "empty"),
        ({"phrase": "cup", "period": 0.0}, "above 0"),
        ({"phrase": "cup", "period": float("inf")}, "above 0"),
        ({"phrase": "cup", "period": float("nan")}, "above 0"),
        ({"phrase": "cup", "period": 1.0, "score_threshold": -0.1}, "within"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        FollowedConcept(**settings)


# --- The hand-over to a stream ----------------------------------------------------------------------------------------


def picture(index: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    image = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return np.roll(image, 2 * index, axis=1)


class Camera:
    """A stream and what was seen in it."""

    def __init__(self, tracker: Tracker, **settings: Any) -> None:
        self.stream: Stream = tracker.open_stream(max_objects=4, **settings)
        self.seen = Sightings(12)
        self.masks: dict[int, dict[int, torch.Tensor]] = {}  # stamp -> object -> logits

    def step(self, stamp: int) -> frozenset[str]:
        result = self.stream.step(picture(stamp), stamp)
        self.masks[stamp] = dict(zip(result.object_ids, result.mask_logits, strict=True))
        seen = {
            i: CroppedMask.of(mask.numpy()) if state is ObjectState.TRACKED else None
            for i, mask, state in zip(result.object_ids, result.masks, result.states, strict=True)
        }
        return self.seen.push(stamp, picture(stamp), seen)

    def hand_over(self, stamp: int, instance: Instance, **rules: Any) -> Decision:
        frame = self.seen.with_stamp(stamp)
        assert frame is not None
        return hand_over(self.stream, self.seen, frame, instance, MatchRules(**rules))


def test_an_instance_is_tracked_from_the_frame_that_it_was_found_on(micro_tracker: Tracker) -> None:
    """Handed over six frames late it ends as if it had been prompted in time, and nobody else notices."""
    found = [cup(box(10, 10, 50, 40, (96, 128))), cup(box(70, 50, 120, 90, (96, 128)), 0.8)]
    late, prompt, alone = Camera(micro_tracker), Camera(micro_tracker), Camera(micro_tracker)
    for camera in (late, prompt, alone):
        camera.step(0)
        camera.stream.add_prompt(Prompt(points=[[30, 80]]))
        camera.step(1)
    expected = [prompt.hand_over(1, instance, match_iou=0.9) for instance in found]  # random masks are large
    for stamp in range(2, 8):
        for camera in (late, prompt, alone):
            camera.step(stamp)
    assert [late.hand_over(1, instance, match_iou=0.9) for instance in found] == expected
    assert [decision.verdict for decision in expected] == [Verdict.NEW, Verdict.NEW]
    assert [o.frames_behind for o in late.stream.objects] == [0, 6, 6]
    for stamp in range(8, 14):
        for camera in (late, prompt, alone):
            camera.step(stamp)
        for i, logits in alone.masks[stamp].items():
            torch.testing.assert_close(late.masks[stamp][i], logits, rtol=1e-4, atol=1e-4)
    assert [o.frames_behind for o in late.stream.objects] == [0, 0, 0]
    for decision in expected:
        i = decision.object_id
        assert i is not None
        torch.testing.assert_close(late.masks[13][i], prompt.masks[13][i], rtol=1e-4, atol=1e-4)


def test_nothing_is_tracked_twice(micro_tracker: Tracker) -> None:
    camera = Camera(micro_tracker)
    for stamp in range(3):
        camera.step(stamp)
    instance = cup(box(10, 10, 50, 40, (96, 128)))
    first = camera.hand_over(1, instance)
    assert first.verdict is Verdict.NEW
    for again in (
        camera.hand_over(1, instance),
        camera.hand_over(1, cup(instance.mask, phrase="mug")),
        camera.hand_over(2, instance),  # it has not arrived there yet: its mask on frame 1 is the nearest
    ):
        assert (again.verdict, again.object_id) == (Verdict.TRACKED, first.object_id)
    assert [(o.object_id, o.label) for o in camera.stream.objects] == [(first.object_id, "cup")]


def test_a_lost_object_keeps_its_id_and_goes_on_from_the_detection(micro_tracker: Tracker) -> None:
    camera = Camera(micro_tracker)
    camera.step(0)
    first = camera.hand_over(0, cup(box(10, 10, 50, 40, (96, 128))))
    camera.step(1)
    bias = micro_tracker.model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias
    kept = bias.detach().clone()
    with torch.inference_mode():
        bias.fill_(-100.0)  # nothing is there any more, says the network
    try:
        assert camera.step(2) == {"cup"}
        camera.step(3)
        assert [o.state for o in camera.stream.objects] == [ObjectState.ABSENT]
    finally:
        with torch.inference_mode():
            bias.copy_(kept)
    back = camera.hand_over(3, cup(box(60, 20, 90, 60, (96, 128)), 0.55, phrase="Cup"))
    assert (back.verdict, back.object_id) == (Verdict.FOUND_AGAIN, first.object_id)
    assert camera.hand_over(3, cup(box(62, 22, 90, 60, (96, 128)))).verdict is Verdict.TRACKED
    camera.step(4)
    assert [(o.object_id, o.label, o.state) for o in camera.stream.objects] == [(1, "cup", ObjectState.TRACKED)]


def test_a_stamp_that_came_again_names_no_frame(micro_tracker: Tracker) -> None:
    """A camera without a clock stamps every image with zero: the searched one can be prompted while it is newest."""
    camera = Camera(micro_tracker)
    camera.step(0)
    searched = camera.seen.newest
    assert searched is not None
    instance = cup(box(10, 10, 50, 40, (96, 128)))
    camera.step(0)
    with pytest.raises(StampError, match="Several frames"):
        hand_over(camera.stream, camera.seen, searched, instance, MatchRules())
    assert camera.stream.objects == ()
    assert camera.hand_over(0, instance).verdict is Verdict.NEW


def test_what_cannot_be_tracked_changes_nothing(micro_tracker: Tracker) -> None:
    camera = Camera(micro_tracker, history_frames=3)
    for stamp in range(6):
        camera.step(stamp)
    size = (96, 128)
    with pytest.raises(StampError, match="oldest is of 3"):
        camera.hand_over(1, cup(box(10, 10, 50, 40, size)))
    for x in range(0, 120, 30):
        camera.hand_over(4, cup(box(x, 0, x + 20, 20, size)), match_iou=1.0)
    with pytest.raises(CapacityError):
        camera.hand_over(4, cup(box(0, 60, 20, 80, size)), match_iou=1.0)
    assert len(camera.stream.objects) == 4
