"""Association of detections and tracks: masks drawn by hand, decisions worked out by hand, and a real stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sam_core import CapacityError, Prompt, StampError, Tracker
from sam_core.association import (
    Association,
    Decision,
    FollowedConcept,
    Instance,
    KnownObject,
    MatchRules,
    RedetectionSchedule,
    TrackHistory,
    associate,
    concept_key,
    track_instance,
)
from sam_core.sam2 import ImageFeatures
from sam_core.streaming import (
    CroppedMask,
    Frame,
    FrameHistory,
    ObjectInfo,
    ObjectOnFrame,
    ObjectPhase,
    ObjectState,
    Observation,
    Stream,
)

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
    decision = associate(cup(box(10, 10, 20, 20), score=0.1), known, MatchRules(match_iou=0.1))
    assert (decision.association, decision.object_id) == (Association.TRACKED, 7)
    assert decision.overlap == pytest.approx((30 - right) / (10 + right - 20))


def test_of_two_tracked_objects_the_better_match_is_meant() -> None:
    known = [KnownObject(1, "", box(10, 10, 16, 20)), KnownObject(2, "", box(12, 10, 20, 20))]
    assert associate(cup(box(10, 10, 20, 20)), known, MatchRules()) == Decision(Association.TRACKED, 2, 0.8)


def test_what_overlaps_too_little_is_new_if_its_score_suffices() -> None:
    known = [KnownObject(1, "cup", box(19, 10, 29, 20))]  # IoU 10 / 190
    instance = cup(box(10, 10, 20, 20), score=0.7)
    assert associate(instance, known, MatchRules()) == Decision(Association.NEW, None, 10 / 190)
    assert associate(instance, known, MatchRules(match_iou=0.05)).association is Association.TRACKED
    assert associate(instance, known, MatchRules(new_score=0.71)).association is Association.UNSURE
    assert associate(instance, [], MatchRules()).association is Association.NEW


def test_the_limit_counts_objects_of_the_concept_alone() -> None:
    known = [KnownObject(1, "cup", box(0, 0, 5, 5)), KnownObject(2, "plate", box(50, 0, 55, 5))]
    instance = cup(box(10, 10, 20, 20), phrase="  CUP ")
    assert associate(instance, known, MatchRules(max_objects=2)).association is Association.NEW
    assert associate(instance, known, MatchRules(max_objects=1)).association is Association.LIMIT_REACHED


def test_a_lost_object_of_the_concept_is_reidentified_whatever_the_score_and_the_limit() -> None:
    lost = KnownObject(3, "cup", box(50, 30, 60, 40), lost=True)
    rules = MatchRules(max_objects=1)
    decision = associate(cup(box(10, 10, 20, 20), score=0.55), [lost], rules)
    assert (decision.association, decision.object_id) == (Association.REIDENTIFIED, 3)
    assert associate(cup(box(10, 10, 20, 20), phrase="plate"), [lost], rules).association is Association.NEW


def test_of_lost_objects_the_one_last_seen_nearest_is_meant() -> None:
    known = [
        KnownObject(1, "cup", None, lost=True),
        KnownObject(2, "cup", box(50, 30, 60, 40), lost=True),
        KnownObject(3, "cup", box(14, 10, 24, 20), lost=True),
    ]
    assert associate(cup(box(10, 10, 20, 20)), known, MatchRules()).object_id == 3
    assert associate(cup(box(45, 25, 55, 35)), known, MatchRules()).object_id == 2
    assert associate(cup(box(45, 25, 55, 35)), known[:1], MatchRules()).object_id == 1


def test_where_a_lost_object_was_seen_last_it_does_not_match() -> None:
    """A lost cup's old place may hold another thing: a plate there is a new object."""
    lost = KnownObject(3, "cup", box(10, 10, 20, 20), lost=True)
    assert associate(cup(box(10, 10, 20, 20), phrase="plate"), [lost], MatchRules()).association is Association.NEW


def test_an_empty_mask_is_nothing() -> None:
    empty = cup(CroppedMask.of(np.zeros((H, W), bool)))
    assert associate(empty, [KnownObject(1, "cup", None, lost=True)], MatchRules()) == Decision(Association.EMPTY)


@pytest.mark.parametrize(
    ("rules", "text"),
    [({"match_iou": 0.0}, "above 0"), ({"match_iou": float("nan")}, "nan"), ({"new_score": 1.1}, "1")],
)
def test_rules_that_make_no_sense_are_refused(rules: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MatchRules(**rules)


def test_concepts_differ_by_more_than_case_and_spacing() -> None:
    assert concept_key(" Yellow  CUP\n") == concept_key("yellow cup") != concept_key("yellowcup")
    assert concept_key("the yellow_cups") == concept_key("yellow cup") != concept_key("yellow mug")


# --- Track history ----------------------------------------------------------------------------------------------------


class DrawnStream:
    """Stands in for a stream: a history of frames with masks drawn by hand.

    Args:
        max_frames: bound of the history.
    """

    mask_threshold = 0.0

    def __init__(self, max_frames: int) -> None:
        self.history = FrameHistory(max_frames, max_bytes=2**30)
        self.objects: tuple[ObjectInfo, ...] = ()
        self.frames = 0

    def step(self, masks: dict[int, CroppedMask | None]) -> Frame:
        """Add a frame; None stands for an object that is absent."""
        nothing = torch.zeros(1, 1, 1, 1)
        features = ImageFeatures(nothing, (nothing, nothing), nothing)
        known = {i: self._on_frame(mask) for i, mask in masks.items()}
        frame = Frame(self.frames, self.frames, (H, W), features, objects=known)
        self.history = self.history.pushed(frame)
        self.frames += 1
        self.objects = tuple(self._info(i, known[i].state) for i in masks)
        return frame

    def begin(self, object_id: int) -> None:
        """Begin an object that still has to catch up, so that no frame shows it."""
        self.objects = (*self.objects, self._info(object_id, ObjectState.TRACKED, ObjectPhase.CATCHING_UP))

    def _on_frame(self, mask: CroppedMask | None) -> ObjectOnFrame:
        seen = Observation(self.frames, 0.9, -1.0 if mask is None else 1.0, prompted=False)
        logits = torch.full((4, 6), -1.0)
        return ObjectOnFrame(logits, logits, torch.zeros(1), seen, outline=mask)

    def _info(self, object_id: int, state: ObjectState, phase: ObjectPhase = ObjectPhase.SHOWN) -> ObjectInfo:
        return ObjectInfo(object_id, "", 0, 0, state, 0.9, 0.9, phase)


def known(tracks: TrackHistory, stream: Any, frame: Frame) -> dict[int, KnownObject]:
    return {one.object_id: one for one in tracks.known(stream, frame)}


def observe(tracks: TrackHistory, stream: Any, masks: dict[int, CroppedMask | None]) -> frozenset[str]:
    stream.step(masks)
    return tracks.observe(stream)


def test_a_tracked_object_is_where_it_is_on_the_frame_or_on_the_nearest_with_it() -> None:
    stream, tracks = DrawnStream(9), TrackHistory()
    masks = [box(i, 0, i + 10, 10) for i in range(5)]
    frames = [stream.step({1: mask} if i in (0, 3, 4) else {}) for i, mask in enumerate(masks)]
    where = [known(tracks, stream, frame)[1].mask for frame in frames]
    assert where == [masks[0], masks[0], masks[3], masks[3], masks[4]]
    stream.begin(2)
    assert known(tracks, stream, frames[-1])[2].mask is None


def test_what_became_known_of_a_frame_counts() -> None:
    """The caller may hold a frame from before a prompt on it; the history knows more."""
    stream, tracks = DrawnStream(9), TrackHistory()
    old = stream.step({})
    stream.history = stream.history.with_objects(1, {0: stream._on_frame(box(0, 0, 9, 9))})
    stream.begin(1)
    mask = known(tracks, stream, old)[1].mask
    assert mask is not None
    assert mask.box == (0, 0, 9, 9)


def test_an_object_is_lost_where_it_is_seen_neither_then_nor_now() -> None:
    stream, tracks = DrawnStream(2), TrackHistory()
    observe(tracks, stream, {1: box(0, 0, 9, 9)})
    first = stream.history.frame_at()
    tracks.found(1, "cup", box(0, 0, 9, 9))
    assert not known(tracks, stream, first)[1].lost
    assert observe(tracks, stream, {1: box(3, 3, 9, 9)}) == frozenset()
    assert observe(tracks, stream, {1: None}) == {"cup"}
    now = known(tracks, stream, stream.history.frame_at())[1]
    assert (now.lost, now.concept) == (True, "cup")
    then = known(tracks, stream, first)[1]
    assert (then.lost, then.mask) == (False, first.objects[1].outline), "it was there on that frame"


def test_the_last_mask_of_a_lost_object_outlives_the_history() -> None:
    stream, tracks = DrawnStream(2), TrackHistory()
    observe(tracks, stream, {1: box(0, 0, 9, 9)})
    tracks.found(1, "cup", box(0, 0, 9, 9))
    observe(tracks, stream, {1: box(20, 10, 30, 20)})
    for _ in range(10):
        observe(tracks, stream, {1: None})
        assert len(stream.history) <= 2
    now = known(tracks, stream, stream.history.frame_at())[1]
    assert now.lost
    assert now.mask is not None
    assert now.mask.box == (20, 10, 30, 20), "where it was last, not where it was found"
    tracks.found(1, "cup", box(5, 5, 9, 9))
    again = known(tracks, stream, stream.history.frame_at())[1]
    assert again.mask is not None
    assert again.mask.box == (5, 5, 9, 9)


def test_a_lost_object_is_told_once_by_its_concept() -> None:
    stream, tracks = DrawnStream(2), TrackHistory()
    mask = box(0, 0, 9, 9)
    observe(tracks, stream, {1: mask, 2: mask, 3: mask})
    tracks.found(1, "cup", mask)
    tracks.found(2, "plate", mask)
    assert observe(tracks, stream, {1: mask, 2: None, 3: None}) == {"plate"}, "3 was found by no concept"
    assert observe(tracks, stream, {1: None, 2: None}) == {"cup"}
    assert observe(tracks, stream, {1: None, 2: None}) == frozenset()
    assert observe(tracks, stream, {1: mask, 2: None}) == frozenset()
    assert observe(tracks, stream, {1: None, 2: None}) == {"cup"}, "once for each loss"
    assert observe(tracks, stream, {1: mask, 2: None}) == frozenset()
    assert observe(tracks, stream, {}) == frozenset(), "a removed object is not lost"


def test_an_object_that_is_absent_right_after_its_prompt_is_lost() -> None:
    stream, tracks = DrawnStream(9), TrackHistory()
    observe(tracks, stream, {})
    tracks.found(1, "cup", box(0, 0, 9, 9))
    stream.step({})
    stream.begin(1)
    assert tracks.observe(stream) == frozenset(), "it is still catching up"  # type: ignore[arg-type]
    assert observe(tracks, stream, {1: None}) == {"cup"}


def test_removed_objects_are_forgotten() -> None:
    """So that what is remembered does not grow with the objects of a long run."""
    stream, tracks = DrawnStream(2), TrackHistory()
    for object_id in range(1, 30):
        mask = box(object_id, 0, object_id + 9, 9)
        observe(tracks, stream, {object_id: mask})
        tracks.found(object_id, "cup", mask)
        observe(tracks, stream, {object_id: None})
        assert tracks._concepts.keys() == tracks._last_seen.keys() == {object_id}
    stream.objects = ()
    assert tracks.known(stream, stream.history.frame_at()) == []  # type: ignore[arg-type]
    assert not tracks._concepts
    assert not tracks._last_seen


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
        ({"phrase": "cup", "period": 1.0, "score_threshold": -0.1}, "within"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        FollowedConcept(**settings)


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
        self.tracks = TrackHistory()
        self.logits: list[dict[int, torch.Tensor]] = []  # of each frame, by object

    def step(self, stamp: int | None = None) -> frozenset[str]:
        index = len(self.logits)
        result = self.stream.step(image_of(index), index if stamp is None else stamp)
        self.logits.append(dict(zip(result.object_ids, result.mask_logits, strict=True)))
        return self.tracks.observe(self.stream)

    def track(self, frame: int | Frame, instance: Instance, **rules: Any) -> Decision:
        searched = self.stream.history.numbered(frame) if isinstance(frame, int) else frame
        assert searched is not None
        return track_instance(self.stream, self.tracks, searched, instance, MatchRules(**rules))


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
        (lost,) = camera.tracks.known(camera.stream, camera.stream.history.frame_at())
        assert (lost.lost, lost.concept) == (True, "cup")
        assert last is not None
        assert lost.mask is not None
        assert lost.mask.overlap(last) == 1
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
    assert len(camera.tracks.known(camera.stream, camera.stream.history.frame_at())) == 4
