"""Prompts on earlier frames: the frame that the operator saw, not the one that happens to be newest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sam_core import CapacityError, Prompt, StampError, Stream, Tracker
from sam_core.streaming import POLICIES, ObjectPhase
from tests.core.test_stream import BOX, CLICK, LATE, frame

STAMP = 1000  # of frame 0; each frame adds 10
BAND = np.abs(np.subtract.outer(np.arange(90), np.arange(120))) < 8  # a mask along the diagonal


def advance(stream: Stream, first: int, last: int) -> list[torch.Tensor]:
    """Show frames first … last - 1; returns their mask logits."""
    return [stream.step(frame(i), STAMP + 10 * i).mask_logits for i in range(first, last)]


def at(index: int, prompt: Prompt = CLICK) -> Prompt:
    """Stamp a prompt for a frame."""
    return Prompt(prompt.points, prompt.labels, prompt.box, prompt.mask, stamp=STAMP + 10 * index)


@pytest.mark.parametrize("delay", [1, 10, 29])
def test_late_prompt_ends_as_one_in_time(micro_tracker: Tracker, delay: int) -> None:
    """Exactly: not a bit differs once the object has caught up."""
    late, timely = micro_tracker.open_stream(), micro_tracker.open_stream()
    for stream in (late, timely):
        advance(stream, 0, 5)
    reference = timely.add_prompt(CLICK)
    advance(late, 5, 5 + delay)
    truth = advance(timely, 5, 80)
    answer = late.add_prompt(at(4))
    assert (answer.frame, answer.stamp) == (4, STAMP + 40)
    assert torch.equal(answer.mask_logits, reference.mask_logits)
    assert late.objects[0].frames_behind == delay
    joined = None
    for i in range(5 + delay, 80):
        (logits,) = advance(late, i, i + 1)
        if len(logits):
            joined = i if joined is None else joined
            assert torch.equal(logits, truth[i - 5])
        else:
            assert joined is None
    assert joined is not None
    # 2 frames a step, while the camera adds one each time; the last one on the step that it joins
    assert joined - (5 + delay) == delay - 1
    assert late.objects[0].frames_behind == 0


def test_others_do_not_notice(micro_tracker: Tracker) -> None:
    """Not a bit of two other objects' masks changes while a third catches up, nor when it joins."""
    disturbed, calm = micro_tracker.open_stream(), micro_tracker.open_stream()
    for stream in (disturbed, calm):
        advance(stream, 0, 1)
        stream.add_prompt(CLICK)
        stream.add_prompt(BOX)
        advance(stream, 1, 20)
    disturbed.add_prompt(at(8, LATE))
    counts = set()
    for i in range(20, 40):
        (one,), (other,) = advance(disturbed, i, i + 1), advance(calm, i, i + 1)
        counts.add(len(one))
        assert torch.equal(one[:2], other)
    assert counts == {2, 3}


def test_many_instances_of_one_frame_catch_up_together(micro_tracker: Tracker) -> None:
    """As a detector hands them over: one frame, several masks."""
    late, timely = micro_tracker.open_stream(), micro_tracker.open_stream()
    masks = [np.zeros((90, 120), bool) for _ in range(5)]
    for k, mask in enumerate(masks):
        mask[10 * k : 10 * k + 20, 15 * k : 15 * k + 25] = True
    for stream in (late, timely):
        advance(stream, 0, 3)
    for mask in masks:
        timely.add_prompt(Prompt(mask=mask))
    advance(late, 3, 12)
    for mask in masks:
        late.add_prompt(at(2, Prompt(mask=mask)))
    truth = advance(timely, 3, 30)
    joined = [
        i for i in range(12, 30) if len(logits := advance(late, i, i + 1)[0]) and torch.equal(logits, truth[i - 3])
    ]
    assert joined == list(range(20, 30))


def test_correction_of_an_earlier_frame(micro_tracker: Tracker) -> None:
    """The object goes on as it was until the corrected one has caught up; others never notice."""
    corrected, calm, timely = (micro_tracker.open_stream(corrections_are_conditioning=True) for _ in range(3))
    for stream in (corrected, calm, timely):
        advance(stream, 0, 1)
        stream.add_prompt(CLICK, label="cup")
        stream.add_prompt(BOX)
        advance(stream, 1, 12)
    correction = Prompt(mask=BAND)
    timely.add_prompt(correction, object_id=1)  # on frame 11, in time
    for stream in (corrected, calm):
        advance(stream, 12, 24)
    truth = advance(timely, 12, 40)
    answer = corrected.add_prompt(at(11, correction), object_id=1)
    assert answer.object_ids == (1,)
    assert answer.labels == ("cup",)
    assert corrected.objects[0].phase is ObjectPhase.CORRECTING
    switched = False
    for i in range(24, 40):
        (one,), (other,) = advance(corrected, i, i + 1), advance(calm, i, i + 1)
        assert len(one) == 2
        assert torch.equal(one[1], other[1])
        switched = switched or not torch.equal(one[0], other[0])
        if not switched:
            assert i < 36
    assert switched
    # To rounding: memories that had left the bank are encoded for one object, not for the batch of two.
    torch.testing.assert_close(one[0], truth[-1][0], rtol=0, atol=1e-5)
    assert [o.object_id for o in corrected.objects] == [1, 2]
    assert [o.phase for o in corrected.objects] == [ObjectPhase.SHOWN] * 2


CORRECTIONS = {
    "a positive click": Prompt(points=[[70, 50]], labels=[1]),
    "a negative click": Prompt(points=[[55, 40]], labels=[0]),
    "a box": Prompt(box=[30, 20, 90, 70]),
    "a mask": Prompt(mask=BAND),
}


@pytest.mark.parametrize("kind", CORRECTIONS)
@pytest.mark.parametrize(
    "policy",
    ["fifo", *(pytest.param(x, marks=pytest.mark.slow) for x in ("strided", "selective", "samurai", "distractor"))],
)
def test_a_late_correction_ends_as_one_in_time(micro_tracker: Tracker, kind: str, policy: str) -> None:
    """Not a bit differs, whatever the delay: it starts from the mask and the memories that the object had then."""
    given, last, correction = 21, 54, CORRECTIONS[kind]  # the latest has caught up on frame 51

    def begun() -> Stream:
        stream = micro_tracker.open_stream(policy=POLICIES[policy]())
        advance(stream, 0, 3)
        stream.add_prompt(CLICK)
        advance(stream, 3, given + 1)
        return stream

    timely = begun()
    reference = timely.add_prompt(correction, object_id=1)
    truth = advance(timely, given + 1, last)
    untold = advance(begun(), given + 1, last)
    assert not torch.equal(truth[-1], untold[-1])
    thorough = (kind, policy) == ("a positive click", "fifo")
    for delay in range(1, 16) if thorough else (1, 8, 15):
        late = begun()
        advance(late, given + 1, given + 1 + delay)
        answer = late.add_prompt(at(given, correction), object_id=1)
        assert torch.equal(answer.mask_logits, reference.mask_logits), delay
        masks = advance(late, given + 1 + delay, last)
        assert torch.equal(masks[-1], truth[-1]), delay


def test_corrections_of_one_object_on_several_earlier_frames(micro_tracker: Tracker) -> None:
    """The second builds on what the first has changed, also before the first has caught up."""
    late, timely = micro_tracker.open_stream(), micro_tracker.open_stream()
    first, second = CORRECTIONS["a positive click"], CORRECTIONS["a negative click"]
    for stream in (late, timely):
        advance(stream, 0, 3)
        stream.add_prompt(CLICK)
    for last, prompt in ((11, first), (16, second)):
        advance(timely, timely.report().frames, last)
        timely.add_prompt(prompt, object_id=1)
    truth = advance(timely, 16, 45)
    advance(late, 3, 24)
    late.add_prompt(at(10, first), object_id=1)
    late.add_prompt(at(15, second), object_id=1)
    assert torch.equal(advance(late, 24, 45)[-1], truth[-1])


def test_second_click_on_the_same_earlier_frame(micro_tracker: Tracker) -> None:
    """A new object that is still catching up is taken back to the frame that is clicked again."""
    late, timely = micro_tracker.open_stream(), micro_tracker.open_stream()
    for stream in (late, timely):
        advance(stream, 0, 3)
    again = Prompt(points=[[30, 30]], labels=[0])
    timely.add_prompt(CLICK)
    timely.add_prompt(again, object_id=1)
    truth = advance(timely, 3, 40)
    advance(late, 3, 20)
    late.add_prompt(at(2))
    late.add_prompt(at(2, again), object_id=1)
    masks = advance(late, 20, 40)
    assert len(masks[-1]) == 1
    assert torch.equal(masks[-1], truth[-1])


def test_prompt_on_the_newest_frame_for_an_object_that_is_behind(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream()
    advance(stream, 0, 20)
    stream.add_prompt(at(2))
    assert stream.objects[0].frames_behind == 17
    assert stream.add_prompt(LATE, object_id=1).frame == 19
    assert stream.objects[0].frames_behind == 0


def test_stamp_that_is_gone_or_unknown(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream(history_frames=8)
    advance(stream, 0, 20)
    oldest, newest = stream.history.oldest, stream.history.newest
    assert oldest is not None
    assert newest is not None
    assert (oldest.stamp, newest.stamp) == (STAMP + 120, STAMP + 190)
    for index in (11, 20):
        with pytest.raises(StampError, match=r"the oldest is of 1120, the newest of 1190\."):
            stream.add_prompt(at(index))
    assert stream.objects == ()
    assert stream.add_prompt(at(12)).frame == 12
    assert stream.add_prompt(at(11), or_newest=True).frame == 19


def test_history_is_bounded_by_bytes(micro_tracker: Tracker) -> None:
    assert micro_tracker.open_stream().report().max_history_frames == 36
    small = micro_tracker.open_stream(history_bytes=100_000)
    assert small.report().max_history_frames < 36
    none = micro_tracker.open_stream(history_bytes=0)
    advance(none, 0, 3)
    assert (none.report().history_frames, none.report().max_history_frames) == (1, 1)
    with pytest.raises(StampError):
        none.add_prompt(at(1))
    none.add_prompt(at(2))
    assert len(advance(none, 3, 4)[0]) == 1


def test_frames_are_never_lost_to_an_object_that_is_behind(micro_tracker: Tracker) -> None:
    """Prompts on ever other frames, at the edge of the ring: all arrive."""
    stream = micro_tracker.open_stream(history_frames=10, catch_up_frames=2, max_objects=8)
    advance(stream, 0, 10)
    for i in range(10, 18):
        stream.add_prompt(at(i - 10, BOX))
        advance(stream, i, i + 1)
    for i in range(18, 60):
        advance(stream, i, i + 1)
    assert [o.frames_behind for o in stream.objects] == [0] * 8


def test_corrections_under_way_are_bounded(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream(max_objects=2, max_corrections=1)
    advance(stream, 0, 1)
    stream.add_prompt(CLICK)
    stream.add_prompt(BOX)
    advance(stream, 1, 20)
    before = stream.report()
    stream.add_prompt(at(5, LATE), object_id=1)
    with pytest.raises(CapacityError, match="1 corrections of earlier frames are under way"):
        stream.add_prompt(at(5, LATE), object_id=2)
    stream.remove(1)
    assert stream.report().objects == 1
    advance(stream, 20, 30)
    stream.add_prompt(at(25, LATE), object_id=2)
    stream.reset()
    assert stream.report().spatial_slots_used == 0
    assert stream.report().bytes_allocated == before.bytes_allocated


@pytest.mark.parametrize(("asked", "meant"), [(1050, 5), (1053, 5), (1056, 6), (1055, 6), (1081, 8), (1193, 19)])
def test_a_stamp_means_the_nearest_frame(micro_tracker: Tracker, asked: int, meant: int) -> None:
    """Exactly first, else within the tolerance; of two frames as near the newer; the answer has the frame's stamp."""
    stream = micro_tracker.open_stream(stamp_tolerance=5)
    advance(stream, 0, 20)
    answer = stream.add_prompt(Prompt(points=[[60, 45]], stamp=asked))
    assert (answer.frame, answer.stamp) == (meant, STAMP + 10 * meant)


def test_a_stamp_beyond_the_tolerance_is_refused(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream(stamp_tolerance=5)
    advance(stream, 0, 20)
    for asked in (994, 1196, float("nan"), "yesterday"):
        with pytest.raises(StampError, match="the oldest is of 1000"):
            stream.add_prompt(Prompt(points=[[60, 45]], stamp=asked))
    assert stream.add_prompt(Prompt(points=[[60, 45]], stamp=1300), or_newest=True).stamp == 1190


@pytest.mark.parametrize(
    ("asked", "meant"), [(1000, 10), (1020, 12), (1027, 13), (1032, 13), (1040, 4), (1090, 9)], ids=str
)
def test_after_a_loop_a_stamp_means_the_frame_that_was_seen_last(
    micro_tracker: Tracker, asked: int, meant: int
) -> None:
    """A recording of stamps 1000 to 1090 begins again and has come to 1030; what it has not passed is of before."""
    stream = micro_tracker.open_stream(history_frames=20, stamp_tolerance=5)
    advance(stream, 0, 10)
    advance(stream, 0, 4)
    answer = stream.add_prompt(Prompt(points=[[60, 45]], stamp=asked))
    assert (answer.frame, answer.stamp) == (meant, STAMP + 10 * (meant % 10))


def test_a_frame_of_before_a_loop_does_not_stand_in_for_one_that_was_left_out(micro_tracker: Tracker) -> None:
    """The second time around, every other image was not processed; in the first round all were."""
    stream = micro_tracker.open_stream(history_frames=20, stamp_tolerance=10)
    advance(stream, 0, 6)
    for i in range(0, 6, 2):
        advance(stream, i, i + 1)
    for asked, meant in ((1000, 6), (1010, 7), (1020, 7), (1030, 8), (1040, 8), (1050, 5)):
        assert stream.history.frame_at(asked).number == meant
    assert [stream.history.frame_at(stamp, 0).run for stamp in (1040, 1050)] == [1, 0]


@pytest.mark.parametrize("rate", [30, 120])
@pytest.mark.parametrize(
    "rounded",
    [
        lambda ns: round(float(ns)),
        lambda ns: round(float(f"{ns * 1e-9:.6f}") * 1e9),
        lambda ns: round(float(f"{ns * 1e-9:.3f}") * 1e9),
        lambda ns: round(ns * 1e-9 * 1e9),
        lambda ns: int(ns * 1e-9) * 10**9 + int((ns * 1e-9 % 1) * 1e9),
    ],
    ids=["double of ns", "us as text", "ms as text", "double of s", "sec and nanosec of a double"],
)
def test_rounded_stamps_find_their_own_image(micro_tracker: Tracker, rate: int, rounded: Callable[[int], int]) -> None:
    """As viewers, JSON bridges and scripts round the nanoseconds of an image's stamp."""
    stream = micro_tracker.open_stream(stamp_tolerance=0.1e9)
    stamps = [1_795_907_099_135_461_642 + i * 10**9 // rate for i in range(6)]
    for i, stamp in enumerate(stamps):
        stream.step(frame(i), stamp)
    assert [stream.history.frame_at(rounded(stamp)).stamp for stamp in stamps] == stamps


def test_a_frame_may_be_named_by_its_number(micro_tracker: Tracker) -> None:
    """As two frames may have one stamp."""
    stream = micro_tracker.open_stream(history_frames=8)
    for i in range(10):
        stream.step(frame(i), 7)
    assert stream.add_prompt(Prompt(points=[[60, 45]], stamp=7)).frame == 9
    assert stream.add_prompt(Prompt(points=[[60, 45]], frame=4)).frame == 4
    with pytest.raises(StampError, match="Frame 1 is not at hand: the oldest is 2, the newest 9"):
        stream.add_prompt(Prompt(points=[[60, 45]], frame=1))


def test_a_point_hits_what_was_there_on_that_frame(micro_tracker: Tracker) -> None:
    """Not what is there now: on frame 2 the object's mask is on the left, on frame 6 on the right."""
    stream = micro_tracker.open_stream()
    left, right = np.zeros((90, 120), bool), np.zeros((90, 120), bool)
    left[20:60, 10:50], right[20:60, 70:110] = True, True
    advance(stream, 0, 3)
    stream.add_prompt(Prompt(mask=left))
    advance(stream, 3, 7)
    stream.add_prompt(Prompt(mask=right), object_id=1)
    then, now = stream.history.numbered(2), stream.history.newest
    assert then is not None
    assert now is not None
    assert (then.object_at(30, 40, 0.0), then.object_at(90, 40, 0.0)) == (1, None)
    assert (now.object_at(30, 40, 0.0), now.object_at(90, 40, 0.0)) == (None, 1)
    assert [now.object_at(x, y, 0.0) for x, y in ((-1, 40), (120, 40), (90, float("nan")))] == [None] * 3


def test_of_two_masks_the_higher_logit_is_hit(micro_tracker: Tracker) -> None:
    """And what is hit is what results show, pixel by pixel."""
    stream = micro_tracker.open_stream()
    advance(stream, 0, 1)
    stream.add_prompt(CLICK)
    stream.add_prompt(BOX)
    result = stream.step(frame(1))
    now = stream.history.newest
    assert now is not None
    logits = result.mask_logits
    for x, y in ((5, 5), (30, 40), (60, 45), (110, 80), (77, 12)):
        over = {i: float(logits[k, y, x]) for k, i in enumerate(result.object_ids) if logits[k, y, x] > 1e-4}
        if (logits[:, y, x].abs() > 1e-4).all():
            assert now.object_at(x, y, 0.0) == max(over, key=over.__getitem__, default=None)


def test_removed_objects_leave_the_history(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream()
    advance(stream, 0, 1)
    stream.add_prompt(Prompt(mask=np.ones((90, 120), bool)))
    advance(stream, 1, 5)
    assert all(1 in kept.objects for kept in stream.history.frames)
    before = stream.history
    stream.remove(1)
    assert all(not kept.objects for kept in stream.history.frames)
    assert all(1 in kept.objects for kept in before.frames)  # who holds a history keeps what it says


def test_the_history_is_bounded_in_bytes_while_it_is_used(micro_tracker: Tracker) -> None:
    """Objects and kept pictures count."""
    stream = micro_tracker.open_stream(history_bytes=3_000_000, max_objects=8)
    stream.keep_pictures = True
    for i in range(40):
        stream.step(np.zeros((200, 300, 3), np.uint8), i)
        if i == 10:
            for _ in range(8):
                stream.add_prompt(Prompt(box=[20, 20, 80, 80]))
    report = stream.report()
    assert 1 < report.history_frames < 16
    assert report.history_bytes <= 3_000_000
    assert all(kept.picture is not None for kept in stream.history.frames)
