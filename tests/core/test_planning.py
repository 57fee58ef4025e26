"""What a prompt plans and a stream does with it: whom it is for, what is remembered, what the answer says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sam_core import CapacityError, FrameResult, NoFrameError, Prompt, PromptError, StampError, Stream, Tracker
from sam_core.streaming import ObjectPhase, ObjectState
from sam_core.streaming.memory.policies import POLICIES
from sam_core.streaming.postprocessing import fill_holes
from sam_core.streaming.track_state import TrackRules, TrackState, TrackStatus
from tests.core.pattern import HEIGHT, WIDTH, frame

CLICK = Prompt(points=[[60, 45]])
BOX = Prompt(box=[20, 10, 70, 60])
SQUARE = np.zeros((HEIGHT, WIDTH), bool)
SQUARE[20:60, 30:70] = True
MASK = Prompt(mask=SQUARE)


def opened(tracker: Tracker, frames: int = 1, **settings: Any) -> Stream:
    """Return a stream that has seen some frames; the stamps are ten times their numbers."""
    stream = tracker.open_stream(**{"max_objects": 3, **settings})
    advance(stream, frames)
    return stream


def advance(stream: Stream, count: int) -> FrameResult | None:
    result = None
    for index in range(stream.report().frames, stream.report().frames + count):
        result = stream.step(frame(index), 10 * index)
    return result


def index_of(stream: Stream, object_id: int = 1) -> Any:
    return stream._state.find(object_id).latest.index


# --- Whom a prompt is for ---------------------------------------------------------------------------------------------


def test_labels_are_given_kept_and_changed(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker)
    assert stream.add_prompt(CLICK).labels == ("",)
    assert stream.add_prompt(CLICK, 1, "cup").labels == ("cup",)
    assert stream.add_prompt(CLICK, 1).labels == ("cup",)
    assert stream.add_prompt(CLICK, 1, "mug").labels == ("mug",)
    assert [info.label for info in stream.objects] == ["mug"]
    stream.rename(1, "")
    assert [info.label for info in stream.objects] == [""]
    with pytest.raises(PromptError, match="The label contains the control character"):
        stream.rename(1, "a\nb")


def test_places_are_counted(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker, max_objects=2)
    stream.add_prompt(CLICK)
    assert stream.add_prompt(CLICK).object_ids == (2,)
    sentence = r"^All 2 places are taken: remove an object, or raise max_objects and begin again\.$"
    with pytest.raises(CapacityError, match=sentence):
        stream.add_prompt(CLICK)
    assert stream.add_prompt(CLICK, 2).object_ids == (2,), "a correction takes none"


def test_corrections_of_earlier_frames_are_bounded_and_others_are_not(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker, max_corrections=1)
    for _ in range(2):
        stream.add_prompt(CLICK)
    advance(stream, 9)
    stream.add_prompt(replace(CLICK, frame=2), 1)
    assert [info.phase for info in stream.objects] == [ObjectPhase.CORRECTING, ObjectPhase.SHOWN]
    with pytest.raises(
        CapacityError, match=r"^1 corrections of earlier frames are under way: wait until they are done"
    ):
        stream.add_prompt(replace(CLICK, frame=2), 2)
    stream.add_prompt(replace(CLICK, frame=3), 1)  # the one that is under way
    stream.add_prompt(replace(CLICK, frame=9), 2)  # the newest frame
    stream.add_prompt(replace(CLICK, frame=2))  # a new object
    assert [info.phase for info in stream.objects] == [
        ObjectPhase.CORRECTING,
        ObjectPhase.SHOWN,
        ObjectPhase.CATCHING_UP,
    ]


def test_without_corrections_a_new_object_may_still_begin_on_an_earlier_frame(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker, 5, max_corrections=0)
    stream.add_prompt(replace(CLICK, frame=2))
    advance(stream, 4)
    with pytest.raises(CapacityError, match="0 corrections of earlier frames"):
        stream.add_prompt(replace(CLICK, frame=5), 1)


# --- Which frame is meant ---------------------------------------------------------------------------------------------


def test_a_number_goes_before_a_stamp_and_a_stamp_before_the_newest(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker, 6, history_frames=4)
    assert stream.frame_of(CLICK).number == 5
    assert stream.frame_of(replace(CLICK, stamp=30)).number == 3
    assert stream.frame_of(replace(CLICK, stamp=30, frame=2)).number == 2
    for gone in (1, 6):
        with pytest.raises(StampError, match=rf"^Frame {gone} is not at hand: the oldest is 2, the newest 5\.$"):
            stream.frame_of(replace(CLICK, frame=gone))
        assert stream.frame_of(replace(CLICK, frame=gone), or_newest=True).number == 5
    with pytest.raises(StampError):
        stream.frame_of(replace(CLICK, stamp=10))
    assert stream.frame_of(replace(CLICK, stamp=10), or_newest=True).number == 5
    tolerant = opened(micro_tracker, 6, stamp_tolerance=3)
    assert [tolerant.frame_of(replace(CLICK, stamp=stamp)).number for stamp in (27, 30, 33)] == [3, 3, 3]
    with pytest.raises(NoFrameError):
        opened(micro_tracker, 0).frame_of(replace(CLICK, frame=0), or_newest=True)


# --- What is remembered -----------------------------------------------------------------------------------------------


def test_the_frame_on_which_an_object_begins_is_kept_for_good(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker)
    stream.add_prompt(CLICK)
    advance(stream, 12)
    assert index_of(stream).conditioning.before(99) == [0]
    assert stream.objects[0].first_frame == 0


@pytest.mark.parametrize(("for_good", "conditioning"), [(False, [0]), (True, [0, 4])])
def test_the_frame_of_a_correction_is_kept_for_good_if_the_settings_say_so(
    micro_tracker: Tracker, for_good: bool, conditioning: list[int]
) -> None:
    stream = opened(micro_tracker, corrections_are_conditioning=for_good)
    stream.add_prompt(CLICK)
    advance(stream, 4)
    stream.add_prompt(BOX, 1)
    index = index_of(stream)
    assert index.conditioning.before(99) == conditioning
    assert (4 in index.recent.frames) is not for_good
    assert stream.objects[0].first_frame == 0


@pytest.mark.parametrize(("number", "renew"), [(6, True), (3, True), (2, False), (1, False)])
def test_an_object_begins_anew_where_asked_and_on_or_before_the_frame_it_began_on(
    micro_tracker: Tracker, number: int, renew: bool
) -> None:
    stream = opened(micro_tracker, 3)
    stream.add_prompt(CLICK)
    advance(stream, 4)
    stream.add_prompt(replace(MASK, frame=number), 1, renew=renew)
    version = stream._state.find(1).latest
    assert (version.first_frame, version.frame) == (number, number)
    assert (version.index.conditioning.before(99), version.index.recent.used) == ([number], 0)


def test_a_click_on_the_frame_an_object_began_on_is_added_to_the_first_and_starts_from_its_mask(
    micro_tracker: Tracker,
) -> None:
    """Both clicks at once give another mask than one after the other, which builds on the first mask."""
    stream, renewed = opened(micro_tracker), opened(micro_tracker)
    for one in (stream, renewed):
        one.add_prompt(CLICK)
    second = Prompt(points=[[30, 30]], labels=[0])
    answer = stream.add_prompt(second, 1)
    known = stream.history.frames[0].objects[1]
    assert known.clicks is not None
    assert (known.clicks.points.tolist(), known.clicks.labels.tolist()) == ([[60, 45], [30, 30]], [1, 0])
    anew = renewed.add_prompt(second, 1, renew=True)
    known = renewed.history.frames[0].objects[1]
    assert known.clicks is not None
    assert known.clicks.points.tolist() == [[30, 30]]
    assert not torch.equal(answer.low_res, anew.low_res)
    fresh = opened(micro_tracker)
    assert torch.equal(fresh.add_prompt(second).low_res, anew.low_res)


def test_before_its_first_frame_an_object_has_neither_mask_nor_clicks(micro_tracker: Tracker) -> None:
    stream, fresh = (opened(micro_tracker, 4) for _ in range(2))
    stream.add_prompt(replace(CLICK, frame=2))
    answer = stream.add_prompt(replace(BOX, frame=1), 1)
    assert torch.equal(answer.low_res, fresh.add_prompt(replace(BOX, frame=1)).low_res)


def test_a_mask_prompt_replaces_clicks_and_its_outline_is_known_exactly(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker)
    stream.add_prompt(CLICK)
    assert stream.history.frames[0].objects[1].outline is None
    stream.add_prompt(MASK, 1)
    known = stream.history.frames[0].objects[1]
    assert known.clicks is None
    assert known.outline is not None
    np.testing.assert_array_equal(known.outline.full(), SQUARE)
    stream.add_prompt(CLICK, 1)
    known = stream.history.frames[0].objects[1]
    assert known.outline is None
    assert known.clicks is not None
    assert len(known.clicks.points) == 1


def test_a_correction_is_answered_with_what_is_remembered_of_the_object(micro_tracker: Tracker) -> None:
    answers = []
    for forgetful in (False, True):
        stream = opened(micro_tracker)
        stream.add_prompt(CLICK)
        advance(stream, 4)
        if forgetful:
            with torch.inference_mode():
                stream._tracker.bank.spatial.zero_()
        answers.append(stream.add_prompt(Prompt(points=[[30, 30]], labels=[0]), 1).low_res)
    assert not torch.equal(*answers)


def test_the_memory_of_a_prompted_frame_is_made_as_of_a_prompt(micro_tracker: Tracker) -> None:
    """SAM 2 makes it of the mask's pixels, where a tracked frame's is made of probabilities."""
    stream = opened(micro_tracker)
    stream.add_prompt(CLICK)
    seen = stream.history.frame_at()
    known, network = seen.objects[1], micro_tracker.model
    score = torch.full((1, 1), known.seen.object_score)
    with torch.inference_mode():
        of_prompt, of_tracking = (
            network.encode_memory(seen.features, known.low_res[None, None], score, from_prompt=prompted)
            for prompted in (True, False)
        )
    kept = stream.memory_of(1).spatial[0]
    assert torch.equal(kept, of_prompt[0].flatten(1).t().to(kept.dtype))
    assert not torch.equal(kept, of_tracking[0].flatten(1).t().to(kept.dtype))


@pytest.mark.parametrize(
    ("settings", "views", "cleans"),
    [
        ({}, False, False),
        ({"click_augmentation": "views"}, True, False),
        ({"fill_hole_area": 4}, False, True),
    ],
)
def test_clicks_are_answered_as_the_settings_say(
    micro_tracker: Tracker, settings: dict[str, Any], views: bool, cleans: bool
) -> None:
    """Several views give another mask than one; with holes filled, none of up to 4 places is left."""
    plain, stream = opened(micro_tracker), opened(micro_tracker, **settings)
    masks = [one.add_prompt(CLICK).low_res for one in (plain, stream)]
    assert torch.equal(*masks) is not (views or cleans)
    if cleans:
        assert torch.equal(fill_holes(masks[0][None], 4)[0], masks[1])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_new_object_has_no_memories_of_before(micro_tracker: Tracker, policy: str) -> None:
    stream = opened(micro_tracker, policy=POLICIES[policy]())
    stream.add_prompt(CLICK)
    version = stream._state.find(1).latest
    assert (version.index.spatial_used, version.last_seen.prompted, version.last_seen.absent_for) == (1, True, 0)
    assert version.frame == 0


# --- The answer -------------------------------------------------------------------------------------------------------


def test_an_answer_is_the_object_on_the_prompted_frame(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker, 5)
    result = stream.add_prompt(replace(MASK, frame=3), label="cup")
    assert (result.frame, result.stamp, result.image_size) == (3, 30, (HEIGHT, WIDTH))
    assert (result.object_ids, result.labels, result.states) == ((1,), ("cup",), (ObjectState.TRACKED,))
    assert list(result.statuses) == [1]
    known = stream.history.frames[3].objects[1]
    assert torch.equal(known.shown, result.low_res[0])
    assert (known.seen.frame, known.seen.prompted) == (3, True)
    assert [1 in one.objects for one in stream.history.frames] == [False, False, False, True, False]


def test_an_object_that_the_network_does_not_see_is_remarked(
    micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = opened(micro_tracker)
    decode = micro_tracker.model.decode
    unseen = torch.full((1, 1), -2.0)

    def blind(*given: Any, **options: Any) -> Any:
        return replace(decode(*given, **options), object_score=unseen)

    monkeypatch.setattr(micro_tracker.model, "decode", blind)
    result = stream.add_prompt(replace(CLICK, points=[[-1, 45]]))
    assert result.states == (ObjectState.ABSENT,)
    assert result.remarks == (
        "1 point(s) just outside the image of 120×90 px were moved to its border.",
        "The network does not see the object in this image (presence 0.12).",
    )
    assert not stream._state.find(1).latest.empty


def test_an_object_without_a_pixel_above_the_threshold_is_remarked(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker)
    stream.mask_threshold = 50.0
    result = stream.add_prompt(CLICK)
    assert result.states == (ObjectState.NO_MASK,)
    assert result.remarks == (
        "The network sees the object, but no pixel of its mask is above the threshold 50: it may be too small for this "
        "model, one place of whose masks covers 3.8 × 2.8 px.",
    )
    assert stream.history.frames[0].objects[1].empty
    assert [info.state for info in stream.objects] == [ObjectState.NO_MASK]


def test_an_object_with_a_mask_needs_no_remark(micro_tracker: Tracker) -> None:
    assert opened(micro_tracker).add_prompt(CLICK).remarks == ()


def test_a_prompt_makes_a_track_unless_it_is_late_and_the_object_shown(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker, 3)
    late = stream.add_prompt(replace(CLICK, frame=1)).statuses[1]
    assert late == TrackStatus(TrackState.TRACKED, last_seen=10, stamp=10, seen=1)
    lost = TrackStatus(TrackState.LOST, last_seen=0, stamp=20, unseen=9, awaited=True)
    stream.add_prompt(CLICK)
    stream._state = stream._state.with_objects([replace(stream._state.find(2), status=lost)])
    assert stream.add_prompt(replace(CLICK, frame=1), 2).statuses[2] == replace(lost, awaited=False)
    assert stream.objects[1].status == replace(lost, awaited=False)
    again = TrackStatus(TrackState.TRACKED, last_seen=20, stamp=20, seen=1)
    assert stream.add_prompt(replace(CLICK, frame=2), 2).statuses[2] == again


# --- Conditioning memories of tracked frames --------------------------------------------------------------------------


def test_a_tracked_frame_may_be_kept_for_good(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker, reconditioning=True)
    stream.add_prompt(CLICK)
    advance(stream, 4)
    assert stream.recondition(1, 3)
    index = index_of(stream)
    assert (index.conditioning.before(99), 3 in index.recent.frames) == ([0, 3], False)
    assert not stream.recondition(1, 3), "it is one already"
    assert not stream.recondition(1, 0)


def test_a_frame_that_cannot_be_kept_for_good_is_left(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker, 3, reconditioning=True, history_frames=6)
    stream.add_prompt(CLICK)
    stream.add_prompt(CLICK)
    advance(stream, 4)
    stream.add_prompt(CLICK, 2, renew=True)
    before = stream.report().spatial_slots_used
    assert not stream.recondition(1, 0), "it has left the history"
    assert not stream.recondition(1, 1), "the object was not there yet"
    assert not stream.recondition(1, 9), "it is yet to come"
    assert not stream.recondition(2, 5), "it began anew on the next one"
    stream.add_prompt(replace(CLICK, frame=4), 1)
    assert not stream.recondition(1, 5), "it is being corrected"
    late = stream.add_prompt(replace(CLICK, frame=3)).object_ids[0]
    assert not stream.recondition(late, 3), "it is not shown yet"
    stream.remove(late)
    unready = opened(micro_tracker)
    unready.add_prompt(CLICK)
    advance(unready, 2)
    assert not unready.recondition(1, 1), "the stream has no room for it"
    assert stream.report().spatial_slots_used >= before


# --- Frames -----------------------------------------------------------------------------------------------------------


def test_what_came_with_an_image_stays_with_its_frame(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream()
    image = frame(0)
    stream.step(image, "stamp", "source")
    newest = stream.history.frame_at()
    assert (newest.number, newest.stamp, newest.source, newest.size) == (0, "stamp", "source", (HEIGHT, WIDTH))
    assert (newest.picture, newest.image, newest.movement, newest.run) == (None, None, None, 0)
    assert not stream.keep_pictures
    stream.keep_pictures = True
    stream.step(image, 5)
    assert stream.history.frame_at().picture is image
    stream.step(image, 3)
    assert [one.run for one in stream.history.frames] == [0, 0, 1]
    stream.keep_pictures = False
    assert all(one.picture is None for one in stream.history.frames)


@pytest.mark.parametrize(
    ("settings", "has_image", "has_movement"),
    [
        ({}, False, False),
        ({"mask_refinement": "guided_filter"}, True, False),
        ({"policy": POLICIES["distractor"]()}, False, POLICIES["distractor"]().follows_camera),
        ({"policy": POLICIES["samurai"]()}, False, POLICIES["samurai"]().follows_camera),
    ],
)
def test_frames_have_what_the_settings_need(
    micro_tracker: Tracker, settings: dict[str, Any], has_image: bool, has_movement: bool
) -> None:
    stream = opened(micro_tracker, 2, **settings)
    first, second = stream.history.frames
    for one in (first, second):
        assert ((one.image is not None), (one.movement is not None)) == (has_image, has_movement)
    if has_movement:
        assert first.movement is not None
        assert second.movement is not None
        assert (first.movement.shift is None, second.movement.shift is None) == (True, False)


def test_the_threshold_and_the_rules_of_tracks_may_change_between_frames(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker, mask_threshold=0.25, track_rules=TrackRules(occluded_after=7))
    assert (stream.mask_threshold, stream.track_rules) == (0.25, TrackRules(occluded_after=7))
    stream.add_prompt(CLICK)
    stream.track_rules = TrackRules(occluded_after=1)
    bias = micro_tracker.model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias
    kept = bias.detach().clone()
    with torch.inference_mode():
        bias.fill_(-100.0)
        try:
            advance(stream, 1)
        finally:
            bias.copy_(kept)
    assert [info.status.state for info in stream.objects] == [TrackState.OCCLUDED]


@pytest.mark.parametrize(("catch_up_frames", "steps"), [(2, 9), (3, 5), (50, 2)])
def test_an_object_catches_up_so_many_frames_a_step(micro_tracker: Tracker, catch_up_frames: int, steps: int) -> None:
    """Nine frames behind: a step carries it further, but one more frame comes meanwhile."""
    stream = opened(micro_tracker, 10, catch_up_frames=catch_up_frames)
    stream.add_prompt(replace(CLICK, frame=0))
    behind = [stream.objects[0].frames_behind]
    while behind[-1]:
        advance(stream, 1)
        behind.append(stream.objects[0].frames_behind)
    assert behind[0] == 9
    assert len(behind) - 1 == steps


def test_a_frame_that_is_about_to_leave_does_not_wait(micro_tracker: Tracker) -> None:
    """Three objects at the end of a short history go two frames a step together, and no frame is kept for them."""
    stream = opened(micro_tracker, 8, history_frames=8, catch_up_frames=2)
    for number in (0, 1, 2):
        stream.add_prompt(replace(CLICK, frame=number))
    lengths = []
    for _ in range(12):
        advance(stream, 1)
        lengths.append(stream.report().history_frames)
    assert lengths == [8] * 12
    assert [info.frames_behind for info in stream.objects] == [0, 0, 0]


def test_the_report_counts(micro_tracker: Tracker) -> None:
    stream = opened(micro_tracker, 0, history_frames=5)
    empty = stream.report()
    assert (empty.frames, empty.objects, empty.max_objects, empty.history_frames) == (0, 0, 3, 0)
    assert (empty.spatial_slots_used, empty.max_history_frames, empty.history_bytes) == (0, 5, 0)
    advance(stream, 7)
    stream.add_prompt(CLICK)
    advance(stream, 1)
    report = stream.report()
    assert (report.frames, report.objects, report.history_frames, report.spatial_slots_used) == (8, 1, 5, 2)
    assert (report.bytes_allocated, report.spatial_slots) == (empty.bytes_allocated, stream._tracker.bank.slots)
    assert report.history_bytes == stream.history.nbytes > 0
    features = stream.history.frame_at().nbytes - sum(
        known.low_res.nbytes + known.pointer.nbytes for known in stream.history.frame_at().objects.values()
    )
    assert opened(micro_tracker, 0, history_bytes=3 * features).report().max_history_frames == 3
    assert opened(micro_tracker, 0, history_bytes=3 * features - 1).report().max_history_frames == 2
