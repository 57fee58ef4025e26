"""Clicks tell objects apart: a mask that covers what was clicked on as another object is asked for again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.quality.clips import make_benchmark_clip
from sam_core import FrameResult, Prompt, Stream, Tracker, build_tracker
from sam_core.sam2 import SamOutput
from tests.core.pattern import HEIGHT, WIDTH, frame

LEFT, RIGHT = (30.0, 40.0), (90.0, 50.0)


def click(*points: tuple[float, float], labels: list[int] | None = None, stamp: int | None = None) -> Prompt:
    return Prompt(points=points, labels=[1] * len(points) if labels is None else labels, stamp=stamp)


@pytest.fixture
def asked(micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Let a click choose everything but what lies around negative ones; return the points and labels asked for."""
    model = micro_tracker.model
    decode, calls = model.decode, []
    radius = model.mask_size // 8

    def greedy(embedding, features, points=None, labels=None, mask=None, *, multimask):  # type: ignore[no-untyped-def]
        output = decode(embedding, features, points, labels, mask, multimask=multimask)
        if points is None:
            return output
        calls.append((points[0].clone(), labels[0].clone()))
        low_res = torch.full_like(output.low_res, 6.0)
        for x, y in (points[0][labels[0] == 0] * (model.mask_size / model.image_size)).long().tolist():
            low_res[0, 0, max(0, y - radius) : y + radius, max(0, x - radius) : x + radius] = -6.0
        return SamOutput(**{**vars(output), "low_res": low_res, "object_score": torch.ones(1, 1)})

    monkeypatch.setattr(model, "decode", greedy)
    return calls


def open_at(tracker: Tracker, overlaps: str = "look", frames: int = 1) -> Stream:
    stream = tracker.open_stream(overlaps=overlaps)
    for t in range(frames):
        stream.step(frame(t), t)
    return stream


def covers(result: FrameResult, point: tuple[float, float]) -> bool:
    return bool(result.masks[0, int(point[1]), int(point[0])])


def remembered(stream: Stream, object_id: int) -> Tensor:
    return stream._low_res[stream._objects[object_id].row, 0]


def test_a_new_mask_leaves_out_what_was_clicked_on_before(micro_tracker: Tracker, asked: list) -> None:
    stream = open_at(micro_tracker)
    first = stream.add_prompt(click(LEFT))
    assert covers(first, LEFT)
    assert covers(first, RIGHT)
    asked.clear()
    second = stream.add_prompt(click(RIGHT))
    assert covers(second, RIGHT)
    assert not covers(second, LEFT)
    scale = torch.tensor([micro_tracker.image_size / WIDTH, micro_tracker.image_size / HEIGHT])
    points, labels = asked[1]
    assert torch.allclose(points, torch.tensor([RIGHT, LEFT]) * scale)
    assert labels.tolist() == [1, 0]


def test_an_earlier_mask_is_asked_for_again(micro_tracker: Tracker, asked: list) -> None:
    """The earlier object is then the same, to the bit, as one that was given the negative click by hand."""
    stream, by_hand = open_at(micro_tracker), open_at(micro_tracker)
    stream.add_prompt(click(LEFT))
    stream.add_prompt(click(RIGHT))
    by_hand.add_prompt(click(LEFT, RIGHT, labels=[1, 0]))
    assert torch.equal(remembered(stream, 1), remembered(by_hand, 1))
    for t in range(1, 4):
        shown, expected = stream.step(frame(t), t), by_hand.step(frame(t), t)
        assert shown.object_ids == (1, 2)
        assert torch.equal(remembered(stream, 1), remembered(by_hand, 1))
        assert shown.predicted_iou[0] == expected.predicted_iou[0]


def test_the_look_is_that_of_the_new_mask(micro_tracker: Tracker, asked: list) -> None:
    stream, by_hand = open_at(micro_tracker), open_at(micro_tracker)
    stream.add_prompt(click(LEFT))
    stream.add_prompt(click(RIGHT))
    by_hand.add_prompt(click(LEFT, RIGHT, labels=[1, 0]))
    assert stream._overlaps is not None
    assert by_hand._overlaps is not None
    assert torch.equal(stream._overlaps._looks[1], by_hand._overlaps._looks[1])


def test_an_object_may_be_part_of_another_where_overlaps_are_kept(micro_tracker: Tracker, asked: list) -> None:
    stream = open_at(micro_tracker, overlaps="keep")
    stream.add_prompt(click(LEFT))
    assert covers(stream.add_prompt(click(RIGHT)), LEFT)
    assert len(asked) == 2
    assert (remembered(stream, 1) > 0).all()


@pytest.mark.parametrize(
    "other",
    [Prompt(box=[10, 10, 60, 60]), Prompt(points=[LEFT], box=[10, 10, 60, 60]), Prompt(mask=frame(0)[..., 0] > 0)],
    ids=["box", "box and point", "mask"],
)
def test_who_was_drawn_rather_than_clicked_on_stays(micro_tracker: Tracker, asked: list, other: Prompt) -> None:
    stream = open_at(micro_tracker)
    stream.add_prompt(other)
    before = remembered(stream, 1).clone()
    assert before[-1, -1] > 0
    stream.add_prompt(click(RIGHT))
    assert torch.equal(remembered(stream, 1), before)


@pytest.mark.parametrize("first", [click(LEFT), Prompt(mask=frame(0)[..., 0] > 0)], ids=["click", "mask"])
def test_who_was_corrected_by_hand_stays(micro_tracker: Tracker, asked: list, first: Prompt) -> None:
    stream = open_at(micro_tracker)
    stream.add_prompt(first)
    stream.add_prompt(click((60.0, 80.0), labels=[0]), object_id=1)
    before = remembered(stream, 1).clone()
    x, y = (int(v * micro_tracker.model.mask_size / s) for v, s in zip(RIGHT, (WIDTH, HEIGHT), strict=True))
    assert before[y, x] > 0
    stream.add_prompt(click(RIGHT))
    assert torch.equal(remembered(stream, 1), before)


def test_who_began_on_an_earlier_frame_stays(micro_tracker: Tracker, asked: list) -> None:
    stream = open_at(micro_tracker)
    stream.add_prompt(click(LEFT))
    stream.step(frame(1), 1)
    before = remembered(stream, 1).clone()
    asked.clear()
    stream.add_prompt(click(RIGHT))
    assert len(asked) == 1
    assert torch.equal(remembered(stream, 1), before)


def test_clicks_on_a_frame_of_the_past_are_told_apart_too(micro_tracker: Tracker, asked: list) -> None:
    stream = open_at(micro_tracker, frames=4)
    stream.add_prompt(click(LEFT, stamp=1))
    assert not covers(stream.add_prompt(click(RIGHT, stamp=1)), LEFT)
    x, y = (int(v * micro_tracker.model.mask_size / s) for v, s in zip(RIGHT, (WIDTH, HEIGHT), strict=True))
    assert remembered(stream, 1)[y, x] < 0


def test_a_negative_click_is_on_nothing(micro_tracker: Tracker, asked: list) -> None:
    stream = open_at(micro_tracker)
    stream.add_prompt(click(LEFT, RIGHT, labels=[1, 0]))
    asked.clear()
    second = stream.add_prompt(click((60.0, 80.0)))
    assert asked[1][1].tolist() == [1, 0], "the click that chose the first object alone"
    assert not covers(second, LEFT)
    assert covers(second, RIGHT)


def test_a_network_that_cannot_tell_them_apart_keeps_its_answer(
    micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = micro_tracker.model
    decode = model.decode

    def everything(*args, **kwargs):  # type: ignore[no-untyped-def]
        output = decode(*args, **kwargs)
        return SamOutput(**{**vars(output), "low_res": torch.full_like(output.low_res, 6.0)})

    monkeypatch.setattr(model, "decode", everything)
    looking, keeping = open_at(micro_tracker), open_at(micro_tracker, overlaps="keep")
    for stream in (looking, keeping):
        stream.add_prompt(click(LEFT))
    answers = [stream.add_prompt(click(RIGHT)) for stream in (looking, keeping)]
    assert torch.equal(answers[0].masks, answers[1].masks)
    assert answers[0].predicted_iou == answers[1].predicted_iou, "of the mask that was kept"


def fail_at(call: int, function: Callable) -> Callable:
    calls = iter(range(call))

    def wrapped(*args, **kwargs):  # type: ignore[no-untyped-def]
        if next(calls, None) is None:
            raise RuntimeError("out of memory")
        return function(*args, **kwargs)

    return wrapped


def test_an_error_in_the_second_answer_loses_nothing(
    micro_tracker: Tracker, asked: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = open_at(micro_tracker)
    stream.add_prompt(click(LEFT))
    before, slots = remembered(stream, 1).clone(), stream.report().spatial_slots_used
    with monkeypatch.context() as broken:
        broken.setattr(micro_tracker.model, "encode_memory", fail_at(1, micro_tracker.model.encode_memory))
        with pytest.raises(RuntimeError, match="out of memory"):
            stream.add_prompt(click(RIGHT))
    assert [o.object_id for o in stream.objects] == [1]
    assert stream.report().spatial_slots_used == slots
    assert torch.equal(remembered(stream, 1), before)
    assert stream.add_prompt(click(RIGHT)).object_ids == (2,)


def test_things_that_touch_are_told_apart_by_their_clicks() -> None:
    """A held-out scene in which the shipped weights take one thing for two."""
    clip = make_benchmark_clip("clear", 106)
    truth = torch.from_numpy(clip.labels[0])
    inside = [(truth == k).nonzero()[int((truth == k).sum()) // 2].flip(0).tolist() for k in (1, 4)]

    def iou(overlaps: str) -> float:
        stream = build_tracker("sam2_nano", device="cpu").open_stream(overlaps=overlaps)
        stream.step(clip.images[0], 0)
        for point in reversed(inside):
            result = stream.add_prompt(click(tuple(point)))
        mask, own = result.masks[0], truth == 1
        return ((mask & own).sum() / (mask | own).sum()).item()

    assert iou("keep") < iou("look") - 0.1
