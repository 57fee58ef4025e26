"""A prompt or a step takes effect whole or not at all, wherever an exception comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sam_core import FrameResult, Prompt, Stream, Tracker
from tests.core.pattern import HEIGHT, WIDTH, frame

CLICK = Prompt(points=[[60, 45]], labels=[1])
BOX = Prompt(box=[20, 10, 80, 60])
MASK = Prompt(mask=np.pad(np.ones((30, 40), bool), ((20, HEIGHT - 50), (30, WIDTH - 70))))


class OutOfMemoryError(RuntimeError):
    """What is forced."""


class FailAt(TorchDispatchMode):
    """Raise at the n-th operation that allocates or writes; views do neither."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.left = n

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aliases = [one.alias_info for one in func._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in aliases):
            self.left -= 1
            if self.left == -1:
                raise OutOfMemoryError(str(func))
        return func(*args, **(kwargs or {}))


def contents(stream: Stream) -> list[torch.Tensor]:
    """Return all that the stream's objects can read of the memory bank, and all that is known of them on frames."""
    parts: list[torch.Tensor] = []
    bank = stream._tracker.bank
    for target in stream._state.objects.values():
        for version in target.versions:
            tables = version.index
            offset = len(tables.conditioning.frames)
            spatial = [s for s, f in enumerate(tables.conditioning.frames) if f >= 0]
            spatial += [offset + s for s, f in enumerate(tables.recent.frames) if f >= 0]
            pointers = [s for s, f in enumerate(tables.conditioning.frames) if f >= 0]
            pointers += [offset + s for s, f in enumerate(tables.pointers.frames) if f >= 0]
            parts += [bank.spatial[version.row, spatial], bank.pointers[version.row, pointers]]
    for kept in stream.history.frames:
        for known in kept.objects.values():
            parts += [known.low_res, known.shown, known.pointer]
    return [part.clone() for part in parts]


def prepared(tracker: Tracker, **settings: Any) -> Stream:
    """Return a stream with two objects and a full memory."""
    stream = tracker.open_stream(history_frames=12, max_objects=4, **settings)
    stream.step(frame(0), 0)
    stream.add_prompt(CLICK)
    stream.add_prompt(BOX)
    for i in range(1, 10):
        stream.step(frame(i), i)
    return stream


def force_everywhere(tracker: Tracker, act: Callable[[Stream], FrameResult], **settings: Any) -> int:
    """Force an exception at each operation of `act` in turn; return how many there are."""
    disturbed, calm = prepared(tracker, **settings), prepared(tracker, **settings)
    before, report = contents(disturbed), disturbed.report()
    state, n = disturbed._state, 0
    while True:
        mode = FailAt(n)
        try:
            with mode:
                result = act(disturbed)
        except OutOfMemoryError:
            assert disturbed._state is state, f"operation {n} left another state"
            n += 1
            continue
        assert mode.left >= 0, "the exception was swallowed"
        break
    assert report == calm.report()
    assert len(before) > 20
    # Everything failed n times, then succeeded once: the same as if nothing had happened before.
    assert torch.equal(result.mask_logits, act(calm).mask_logits)
    for one, other in zip(contents(disturbed), contents(calm), strict=True):
        assert torch.equal(one, other)
    for i in range(10, 20):
        one, other = disturbed.step(frame(i), i), calm.step(frame(i), i)
        assert torch.equal(one.mask_logits, other.mask_logits)
    return n


PROMPTS: dict[str, Callable[[Stream], FrameResult]] = {
    "a new object": lambda stream: stream.add_prompt(CLICK, label="new"),
    "a new object by mask": lambda stream: stream.add_prompt(MASK),
    "a new object on an earlier frame": lambda stream: stream.add_prompt(Prompt(box=[20, 10, 80, 60], stamp=5)),
    "a correction": lambda stream: stream.add_prompt(CLICK, object_id=2),
    "a correction of an earlier frame": lambda s: s.add_prompt(Prompt(points=[[30, 40]], stamp=4), object_id=1),
    "an object begun anew": lambda stream: stream.add_prompt(MASK, object_id=1, renew=True),
}


@pytest.mark.parametrize(
    "name",
    [name if name == "a correction" else pytest.param(name, marks=pytest.mark.slow) for name in PROMPTS],
)
def test_a_prompt_takes_effect_whole_or_not_at_all(micro_tracker: Tracker, name: str) -> None:
    assert force_everywhere(micro_tracker, PROMPTS[name]) > 100


def test_a_step_takes_effect_whole_or_not_at_all(micro_tracker: Tracker) -> None:
    assert force_everywhere(micro_tracker, lambda stream: stream.step(frame(10), 10)) > 100


def test_a_failed_write_leaves_what_objects_remember(micro_tracker: Tracker) -> None:
    """Bit for bit, also in the middle of the writes to the memory bank."""
    stream = prepared(micro_tracker)
    writes = 0
    before = contents(stream)

    class FailAtWrite(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal writes
            result = func(*args, **(kwargs or {}))
            if "index_put" in str(func) or "copy_" in str(func):
                writes += 1
                if writes == target:
                    raise OutOfMemoryError
            return result

    for act in (*PROMPTS.values(), lambda stream: stream.step(frame(10), 10)):
        target = 1
        while True:
            writes = 0
            state = stream._state
            try:
                with FailAtWrite():
                    act(stream)
            except OutOfMemoryError:
                assert stream._state is state
                for one, other in zip(contents(stream), before, strict=True):
                    assert torch.equal(one, other)
                target += 1
                continue
            break
        assert target > 2
        stream = prepared(micro_tracker)
