"""Recorded steps give what computed ones do; rehearsed on a CPU, where a stand-in replays."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_core import Prompt, Tracker
from sam_core.streaming import FifoPolicy, StreamSettings
from sam_core.streaming.cuda_graphs import FrameGraphs
from sam_core.streaming.memory import MemoryIndices


def picture(number: int) -> np.ndarray:
    image = np.random.default_rng(3).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.roll(image.repeat(8, 0)[:120].repeat(8, 1)[:, :160], 2 * number, axis=1))


def box(k: int) -> Prompt:
    return Prompt(box=np.array([10.0 + 30 * k, 20, 40 + 30 * k, 70]))


def test_graphs_are_off_by_default() -> None:
    assert not StreamSettings().cuda_graphs


class Replay:
    """What a CUDA graph does to its callers, on a CPU: it owns its inputs, and computes from those alone."""

    recorded: ClassVar[list[tuple[torch.Size, ...]]] = []

    def __init__(self, function: Any, inputs: tuple[Tensor, ...]) -> None:
        self.function, self.inputs = function, tuple(x.clone() for x in inputs)
        self.recorded.append(tuple(x.shape for x in inputs))

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for kept, new in zip(self.inputs, inputs, strict=True):
            kept.copy_(new)
        return self.function(*self.inputs)


def test_recorded_steps_give_the_same_masks(micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are filled up to 1, 2 or 4 objects, and what is replayed equals what is computed object by object."""
    plain, graphed = (micro_tracker.open_stream(max_objects=3, policy=FifoPolicy()) for _ in range(2))
    monkeypatch.setattr(Replay, "recorded", [])
    with torch.inference_mode():
        graphs = FrameGraphs(micro_tracker.model, graphed._tracker.bank, 3, enabled=True, record=Replay)
    graphed._tracker._graphs = graphs
    assert len(Replay.recorded) == 1 + (1 + 2 + 2)  # the encoder; one age or several, for 1, 2 and 4 objects
    replayed = 0
    is_recorded = graphs._track.is_recorded

    def count(*inputs: Tensor) -> bool:
        nonlocal replayed
        replayed += is_recorded(*inputs)
        return is_recorded(*inputs)

    monkeypatch.setattr(graphs._track, "is_recorded", count)
    for i in range(45):
        one, other = (stream.step(picture(i)) for stream in (plain, graphed))
        assert torch.equal(one.low_res, other.low_res), i
        assert torch.equal(one.predicted_iou, other.predicted_iou)
        if i in (0, 1, 22):
            for stream in (plain, graphed):
                stream.add_prompt(box(len(stream.objects)))
    assert replayed >= 10
    assert len(Replay.recorded) == 6  # none while tracking


def test_what_cannot_be_recorded_is_computed(micro_tracker: Tracker, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    with torch.inference_mode():
        stream = micro_tracker.open_stream(max_objects=1)
        graphs = FrameGraphs(micro_tracker.model, stream._tracker.bank, 1, enabled=True, record=fail)
    stream._tracker._graphs = graphs
    assert "not permitted when stream is capturing" in caplog.text
    assert len(stream.step(picture(0))) == 0
    stream.add_prompt(box(0))
    assert len(stream.step(picture(1))) == 1


def test_filling_up_a_batch_repeats_the_last_object() -> None:
    indices = MemoryIndices(*(torch.arange(rows * 3).view(rows, 3) for rows in (2, 2, 1, 2, 2)))
    filled = indices.padded(4)
    assert torch.equal(filled.rows[1:], indices.rows[[1, 1, 1]])
    assert torch.equal(filled.t_pos, indices.t_pos)
    assert indices.padded(2) == indices
