"""A snapshot of a stream goes on where its new stream is."""

from __future__ import annotations

import gc
import pickle
from types import FunctionType, ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from sam_core import Prompt, Stream, Tracker
from sam_core.association import ConceptTracker
from sam_core.association.snapshot import restore, take_snapshot
from sam_core.streaming import POLICIES
from tests.core.pattern import frame


def tensors_in(value: Any) -> list[Tensor]:
    """Return all tensors that a value leads to."""
    known: dict[int, Any] = {}
    todo = [value]
    while todo:
        one = todo.pop()
        if id(one) not in known and not isinstance(one, (type, ModuleType, FunctionType)):
            known[id(one)] = one
            todo += [] if isinstance(one, Tensor) else gc.get_referents(one)
    return [one for one in known.values() if isinstance(one, Tensor)]


def followed(tracker: Tracker, frames: int) -> Stream:
    """Return a stream whose state has tensors of all kinds: histograms of colours, motion, a correction under way."""
    stream = tracker.open_stream(
        max_objects=3, policy=POLICIES["samurai"](), non_overlap="color_histogram", history_frames=8
    )
    for number in range(frames):
        stream.step(frame(number), number)
        if number == 0:
            stream.add_prompt(Prompt(points=[[60, 45]], labels=[1]))
            stream.add_prompt(Prompt(box=[20, 10, 70, 60]))
    stream.add_prompt(Prompt(points=[[60, 45]], labels=[1], frame=frames - 3), object_id=1)
    return stream


@pytest.fixture
def snapshot(micro_tracker: Tracker) -> Any:
    saved = take_snapshot(ConceptTracker(followed(micro_tracker, 5)))
    return pickle.loads(pickle.dumps(saved))


def test_all_tensors_come_to_the_device_of_the_stream(
    micro_tracker: Tracker, snapshot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(tensors_in(snapshot.state))
    assert count > 30
    other = followed(micro_tracker, 5)
    monkeypatch.setattr(Stream, "device", torch.device("meta"))

    restore(ConceptTracker(other), snapshot)

    moved = tensors_in(other._state)
    assert {tensor.device.type for tensor in moved} == {"meta"}
    assert len(moved) == count, "what was one tensor stays one"
    assert {tensor.device.type for tensor in tensors_in(snapshot.state)} == {"cpu"}


def test_a_state_that_is_at_home_is_not_copied(micro_tracker: Tracker, snapshot: Any) -> None:
    other = followed(micro_tracker, 5)
    restore(ConceptTracker(other), snapshot)
    assert {id(tensor) for tensor in tensors_in(other._state)} == {id(one) for one in tensors_in(snapshot.state)}
    expected = followed(micro_tracker, 5)
    for number in range(5, 8):
        one, two = other.step(frame(number), number), expected.step(frame(number), number)
        assert torch.equal(one.low_res, two.low_res)
