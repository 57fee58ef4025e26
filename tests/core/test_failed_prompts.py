"""A prompt that fails in the middle gives back what it had taken, however often it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sam_core import CapacityError, FrameResult, Prompt, Stream, Tracker
from tests.core.pattern import frame

PLACES = 2
BOX = Prompt(box=[20, 10, 80, 60])
ACTS: dict[str, Callable[[Stream], FrameResult]] = {
    "a new object": lambda stream: stream.add_prompt(BOX, label="new"),
    "a new object on an earlier frame": lambda stream: stream.add_prompt(Prompt(box=[20, 10, 80, 60], stamp=2)),
    "a correction": lambda stream: stream.add_prompt(BOX, object_id=1, label="other"),
    "a correction of an earlier frame": lambda s: s.add_prompt(Prompt(points=[[30, 40]], stamp=2), object_id=1),
    "an object begun anew": lambda stream: stream.add_prompt(BOX, object_id=1, renew=True),
}


def fail(*_: Any, **__: Any) -> None:
    raise MemoryError("forced")


@pytest.mark.parametrize("where", ["decode", "encode_memory"])
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_what_a_failed_prompt_took_is_free_again(
    micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch, act: Callable[[Stream], FrameResult], where: str
) -> None:
    disturbed, calm = (micro_tracker.open_stream(max_objects=PLACES) for _ in range(2))
    for stream in (disturbed, calm):
        stream.step(frame(0), 0)
        stream.add_prompt(Prompt(points=[[60, 45]]), label="first")
        for index in range(1, 5):
            stream.step(frame(index), index)
    with monkeypatch.context() as patch:
        patch.setattr(micro_tracker.model, where, fail)
        for _ in range(2 * PLACES + 2):
            with pytest.raises(MemoryError):
                act(disturbed)
    assert disturbed.objects == calm.objects
    assert disturbed.report() == calm.report()
    results = [(act(stream), stream.step(frame(5), 5), stream.step(frame(6), 6)) for stream in (disturbed, calm)]
    for one, other in zip(*results, strict=True):
        assert (one.object_ids, one.labels) == (other.object_ids, other.labels)
        assert torch.equal(one.mask_logits, other.mask_logits)
    while len(disturbed.objects) < PLACES:
        disturbed.add_prompt(BOX)
    with pytest.raises(CapacityError):
        disturbed.add_prompt(BOX)
