"""Memory policies: which frames are kept, in which temporal positions, and what need not be computed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sam_core import FrameResult, Prompt, Tracker, build_tracker
from sam_core.streaming import POLICIES, FifoPolicy, MemoryPolicy, Observation, SelectivePolicy, StridedPolicy
from tests.core.pattern import frame

CLICK = Prompt(points=[[60, 45]], labels=[1])
CORRECTION = Prompt(points=[[80, 30]], labels=[1])


class UnforeseeingPolicy(StridedPolicy):
    """Keeps the same frames, but cannot say so before they are tracked."""

    def considers(self, frame: int) -> bool:
        return True

    def admits(self, observation: Observation) -> bool:
        return StridedPolicy().admits(observation)


def run(tracker: Tracker, policy: MemoryPolicy, count: int, corrected: int | None = None) -> list[FrameResult]:
    """Track one object from frame 0 on."""
    stream = tracker.open_stream(policy=policy)
    results = []
    for i in range(count):
        results.append(stream.step(frame(i), i))
        if i == 0:
            stream.add_prompt(CLICK)
        if i == corrected:
            stream.add_prompt(CORRECTION, object_id=1)
    return results[1:]


def equal(one: list[FrameResult], other: list[FrameResult]) -> list[bool]:
    return [torch.equal(a.mask_logits, b.mask_logits) for a, b in zip(one, other, strict=True)]


def test_fifo_policy_keeps_every_frame_and_places_it_by_its_age() -> None:
    policy = FifoPolicy()
    seen = [Observation(i, predicted_iou=0.1, object_score=-1.0, prompted=False) for i in range(12)]
    assert all(policy.considers(observation.frame) and policy.admits(observation) for observation in seen)
    stored = [0, 5, 6, 7, 8, 11]
    assert policy.place_in_time(12, stored, 7) == [(6, 1), (7, 2), (8, 3), (11, 6)]
    assert policy.place_in_time(9, stored[:5], 7) == [(5, 3), (6, 4), (7, 5), (8, 6)]


def test_strided_policy_keeps_every_third_frame_and_prompted_ones() -> None:
    policy = StridedPolicy()
    seen = [Observation(i, predicted_iou=0.9, object_score=-1.0, prompted=i == 11) for i in range(20)]
    stored = [observation.frame for observation in seen if policy.admits(observation)]
    assert stored == [0, 3, 6, 9, 11, 12, 15, 18]
    assert [i for i in range(20) if policy.considers(i)] == [0, 3, 6, 9, 12, 15, 18]
    assert policy.place_in_time(20, stored, 7) == [(6, 1), (9, 2), (11, 3), (12, 4), (15, 5), (18, 6)]
    for stride, patience in ((0, 15), (3, -1)):
        with pytest.raises(ValueError, match="at least"):
            StridedPolicy(stride, patience)


def test_a_long_absence_leaves_memories_of_before() -> None:
    policy = StridedPolicy(stride=3, patience=15)
    gone = range(20, 80)
    seen = [Observation(i, 0.9, -1.0 if i in gone else 1.0, False, i - 19 if i in gone else 0) for i in range(90)]
    stored = [observation.frame for observation in seen if policy.admits(observation)]
    assert [i for i in stored if i in gone] == [21, 24, 27, 30, 33]
    assert policy.place_in_time(80, [i for i in stored if i < 80], 7)[0] == (18, 1)


def test_selective_policy_drops_frames_on_which_the_object_was_not_surely_seen() -> None:
    policy = SelectivePolicy()
    scores = {0: (0.9, 2.0), 1: (0.9, -2.0), 2: (0.005, 9.0), 3: (0.5, 0.1), 4: (0.9, 0.0)}
    seen = {i: Observation(i, iou, score, prompted=False) for i, (iou, score) in scores.items()}
    assert SelectivePolicy.score(seen[0]) == pytest.approx((2 / (1 + math.exp(-2.0)) - 1) * 0.9)
    assert [i for i, observation in seen.items() if policy.retains(observation)] == [0, 3]
    assert all(policy.considers(i) and policy.admits(observation) for i, observation in seen.items())
    assert policy.retains(replace(seen[1], prompted=True))
    assert policy.place_in_time(20, [2, 4, 5, 19], 7) == [(5, 5), (19, 6)]
    for threshold, reach in ((1.0, 15), (-0.1, 15), (0.01, 0)):
        with pytest.raises(ValueError, match="threshold must be"):
            SelectivePolicy(threshold, reach)


def test_a_frame_that_is_not_retained_serves_the_next_frame_alone(micro_tracker: Tracker) -> None:
    """The object is surely seen on every third frame; those stay, while the others pass by."""
    stream, held = micro_tracker.open_stream(policy=SelectivePolicy()), []
    score = [9.0]
    head = micro_tracker.model.sam_mask_decoder.pred_obj_score_head
    hook = head.register_forward_hook(lambda module, inputs, output: torch.full_like(output, score[0]))
    try:
        for i in range(14):
            score[0] = 9.0 if i % 3 == 0 else -9.0
            stream.step(frame(i), i)
            if i == 0:
                stream.add_prompt(CLICK)
            held.append(stream._state.objects[1].latest.index.recent.before(i + 1))
    finally:
        hook.remove()
    assert held[1:8] == [[1], [2], [3], [3, 4], [3, 5], [3, 6], [3, 6, 7]]
    assert held[13] == [3, 6, 9, 12, 13]


def test_a_late_correction_ends_as_one_in_time_where_frames_are_dropped(micro_tracker: Tracker) -> None:
    """About half of the frames are retained; a correction attends to the previous frame, retained or not."""
    results = run(micro_tracker, FifoPolicy(), 16)
    scores = sorted(SelectivePolicy.score(Observation(0, *of(result), prompted=False)) for result in results)
    policy, ends = SelectivePolicy(threshold=scores[len(scores) // 2]), []
    for delay in (0, 4):  # at two frames a step, it has caught up after five
        stream = micro_tracker.open_stream(policy=policy, max_objects=1)
        for i in range(20):
            stream.step(frame(i), i)
            if i == 0:
                stream.add_prompt(CLICK)
            if i == 9 + delay:
                stream.add_prompt(replace(CORRECTION, stamp=9), object_id=1)
        held = stream._state.objects[1].latest.index.recent.before(19)
        assert held != list(range(held[0], 19))
        ends.append(stream.step(frame(20), 20).mask_logits)
    assert torch.equal(*ends)


def of(result: FrameResult) -> tuple[float, float]:
    """Return predicted IoU and object score of the one object."""
    return result.predicted_iou.item(), torch.logit(result.presence.double()).item()


def test_an_observation_counts_the_frames_of_an_absence(micro_tracker: Tracker) -> None:
    """A prompt ends the count, and so does a frame that shows the object."""
    stream, counts = micro_tracker.open_stream(), []
    score = [9.0]
    head = micro_tracker.model.sam_mask_decoder.pred_obj_score_head
    hook = head.register_forward_hook(lambda module, inputs, output: torch.full_like(output, score[0]))
    try:
        for i in range(14):
            score[0] = -9.0 if 2 <= i < 9 else 9.0
            stream.step(frame(i), i)
            if i == 0:
                stream.add_prompt(CLICK)
            if i == 6:
                stream.add_prompt(CORRECTION, object_id=1)
            counts.append(stream._state.objects[1].latest.last_seen.absent_for)
    finally:
        hook.remove()
    assert counts == [0, 0, 1, 2, 3, 4, 0, 1, 2, 0, 0, 0, 0, 0]


def test_stride_of_one_is_fifo(micro_tracker: Tracker) -> None:
    one, other = (
        run(micro_tracker, policy, 20, corrected=9) for policy in (FifoPolicy(), StridedPolicy(1, patience=20))
    )
    assert all(equal(one, other))


def test_stride_changes_what_is_remembered(micro_tracker: Tracker) -> None:
    """The object itself is remembered on frame 0; frame 1 misses no memory yet, frame 2 that of frame 1."""
    assert equal(run(micro_tracker, FifoPolicy(), 12), run(micro_tracker, StridedPolicy(), 12)) == [True] + [False] * 10


def test_memories_that_nobody_keeps_are_not_made(micro_tracker: Tracker) -> None:
    """One of the prompt, one of the correction, and one of every third of 20 frames but the first; same masks."""
    calls: list[int] = []
    hook = micro_tracker.model.memory_encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        spared = run(micro_tracker, StridedPolicy(), 20, corrected=10)
        assert len(calls) == 1 + 1 + 6
        calls.clear()
        made = run(micro_tracker, UnforeseeingPolicy(), 20, corrected=10)
        assert len(calls) == 1 + 1 + 19
    finally:
        hook.remove()
    assert all(equal(spared, made))


def test_a_policy_that_admits_what_it_did_not_consider_is_an_error(micro_tracker: Tracker) -> None:
    class Forgetful(FifoPolicy):
        def considers(self, frame: int) -> bool:
            return False

    with pytest.raises(ValueError, match="did not consider"):
        run(micro_tracker, Forgetful(), 2)


def test_a_model_names_its_policy(micro_tracker: Tracker) -> None:
    assert micro_tracker.memory_policy == "fifo"
    assert build_tracker("sam2_nano", device="cpu").memory_policy == "strided"
    assert build_tracker("sam2_nano", device="cpu", overrides=["memory_policy=fifo"]).memory_policy == "fifo"
    assert sorted(POLICIES) == ["distractor", "fifo", "samurai", "selective", "strided"]
    with pytest.raises(ValueError, match="no memory policy 'visible'; known are fifo, strided, selective, samurai"):
        build_tracker("sam2_nano", device="cpu", overrides=["memory_policy=visible"])


def test_the_models_policy_holds_unless_a_stream_asks_for_another(micro_tracker: Tracker) -> None:
    strided = Tracker(micro_tracker.model, "micro", memory_policy="strided")
    default = strided.open_stream()
    asked = strided.open_stream(policy=FifoPolicy())
    results: list[list[torch.Tensor]] = [[], []]
    for i in range(6):
        for stream, kept in zip((default, asked), results, strict=True):
            kept.append(stream.step(frame(i), i).mask_logits)
            if i == 0:
                stream.add_prompt(CLICK)
    assert torch.equal(results[1][5], run(micro_tracker, FifoPolicy(), 6)[-1].mask_logits)
    assert torch.equal(results[0][5], run(micro_tracker, StridedPolicy(), 6)[-1].mask_logits)
