"""A stream and its tracks as one value, taken in one stream and put into another."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch

from sam_core import Prompt, Tracker
from sam_core.association import LIVE, ConceptTracker, FollowedConcept
from sam_core.association.snapshot import count_skipped, restore, take_snapshot
from sam_core.streaming import Stream
from tests.core.association.test_steps import found, square
from tests.core.pattern import frame

RULES = replace(LIVE, hot_start=6, overlap_iou=0.0)
CUP = FollowedConcept("cup", rules=RULES)


def opened(tracker: Tracker, **settings: int) -> ConceptTracker:
    return ConceptTracker(tracker.open_stream(**{"max_objects": 3, **settings}), RULES)


def test_another_stream_goes_on_with_the_same_numbers(micro_tracker: Tracker) -> None:
    one, other = opened(micro_tracker), opened(micro_tracker)
    one.step(frame(0), 0, concepts=[CUP], detect=lambda *_: [found("cup", square(3))])
    one.stream.add_prompt(Prompt(points=[[60, 45]]), label="clicked")
    one.step(frame(1), 1)
    snapshot = pickle.loads(pickle.dumps(take_snapshot(one)))
    restore(other, snapshot)
    assert dict(other.tracks) == dict(one.tracks) == {1: one.tracks[1]}
    assert (other._searches, other._visible) == ({"cup": 1}, {1})
    for index in range(2, 5):
        expected, result = one.step(frame(index), index), other.step(frame(index), index)
        assert result.result.labels == ("cup", "clicked")
        assert torch.equal(result.result.low_res, expected.result.low_res)
    assert other.stream is not one.stream
    assert other.rules == RULES


def test_a_snapshot_holds_the_memories_of_before(micro_tracker: Tracker) -> None:
    concepts = opened(micro_tracker)
    concepts.stream.step(frame(0))
    concepts.stream.add_prompt(Prompt(points=[[60, 45]]))
    snapshot = take_snapshot(concepts)
    kept = snapshot.spatial.clone(), snapshot.pointers.clone()
    expected = [concepts.step(frame(index)).result.low_res for index in (1, 2, 3)]
    assert torch.equal(snapshot.spatial, kept[0])
    assert torch.equal(snapshot.pointers, kept[1])
    restore(concepts, snapshot)
    for index, low_res in zip((1, 2, 3), expected, strict=True):
        assert torch.equal(concepts.step(frame(index)).result.low_res, low_res)


@pytest.mark.parametrize("settings", [{"max_objects": 4}, {"reconditioning": True}])
def test_a_stream_of_other_settings_is_refused_and_left_as_it_is(
    micro_tracker: Tracker, settings: dict[str, int]
) -> None:
    one, other = opened(micro_tracker), opened(micro_tracker, **settings)
    one.step(frame(0))
    with pytest.raises(ValueError, match=r"^The snapshot is of a stream with another model or other settings\.$"):
        restore(other, take_snapshot(one))
    assert other.stream.report().frames == 0


def test_skipped_frames_are_counted_and_change_nothing_else(micro_tracker: Tracker) -> None:
    skipping, whole = (micro_tracker.open_stream() for _ in range(2))
    for index in range(7):
        whole.step(frame(9), index)
    skipping.step(frame(9), "stamp")
    count_skipped(skipping, 6)
    newest = skipping.history.newest
    assert newest is not None
    assert (newest.number, newest.stamp, len(skipping.history)) == (6, "stamp", 1)
    results = []
    for stream in (skipping, whole):
        stream.add_prompt(Prompt(points=[[60, 45]]))
        results.append([stream.step(frame(10)), stream.step(frame(11))])
    for one, other in zip(*results, strict=True):
        assert one.frame == other.frame
        assert torch.equal(one.low_res, other.low_res)


def seen(tracker: Tracker, frames: int, *, prompted: bool = False) -> Stream:
    stream = tracker.open_stream()
    for index in range(frames):
        stream.step(frame(index))
    if prompted:
        stream.add_prompt(Prompt(points=[[60, 45]]))
    return stream


@pytest.mark.parametrize(("frames", "prompted"), [(0, False), (2, False), (1, True)])
def test_only_before_a_first_frame_without_objects_can_frames_be_skipped(
    micro_tracker: Tracker, frames: int, prompted: bool
) -> None:
    stream = seen(micro_tracker, frames, prompted=prompted)
    sentence = r"^Frames can be skipped only before the first frame of a stream without objects\.$"
    with pytest.raises(ValueError, match=sentence):
        count_skipped(stream, 3)
    assert stream.report().frames == frames
