"""An object that is begun on a frame which has left the history: it is looked for, by how it looked there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sam_core import CapacityError, Prompt, PromptError, Stream, Tracker, TrackState
from sam_core.streaming import Frame, TrackRules
from tests.core.pattern import frame

MASK = np.zeros(frame(0).shape[:2], bool)
MASK[30:60, 40:80] = True


def moved_on(tracker: Tracker, found_after: int = 2) -> tuple[Stream, Frame]:
    """Return a stream that keeps two frames and has seen six, and the first of them."""
    rules = TrackRules(found_after=found_after)
    stream = tracker.open_stream(max_objects=2, history_frames=2, track_rules=rules)
    stream.step(frame(0), 0)
    first = stream.history.frame_at()
    for number in range(1, 6):
        stream.step(frame(number), number)
    assert stream.history.numbered(0) is None
    return stream, first


def test_it_is_lost_until_it_is_found(micro_tracker: Tracker) -> None:
    stream, first = moved_on(micro_tracker)
    answer = stream.look_for(Prompt(mask=MASK), first, "cup")
    assert (answer.object_ids, answer.stamp, answer.statuses[1].state) == ((1,), 0, TrackState.LOST)
    (info,) = stream.objects
    assert (info.label, info.phase.value, info.status.awaited) == ("cup", "shown", True)
    states = [stream.step(frame(number), number).statuses[1].state for number in range(6, 9)]
    assert states == [TrackState.LOST, TrackState.TRACKED, TrackState.TRACKED]


@pytest.mark.parametrize("waited", [0, 3])
def test_it_is_tracked_as_if_it_had_been_prompted_just_before(micro_tracker: Tracker, waited: int) -> None:
    fresh = micro_tracker.open_stream(max_objects=1)
    fresh.step(frame(0), 0)
    fresh.add_prompt(Prompt(mask=MASK))
    expected = fresh.step(frame(9), 1).mask_logits[0]

    stream, first = moved_on(micro_tracker, found_after=100)
    stream.look_for(Prompt(mask=MASK), first)
    for number in range(6, 6 + waited):
        stream.step(frame(number), number)
    found = stream.step(frame(9), 20).mask_logits[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("prompt", "error"),
    [(lambda: Prompt(mask=MASK[:5]), PromptError), (lambda: Prompt(mask=MASK), CapacityError)],
    ids=["wrong size", "no room"],
)
def test_what_cannot_be_done_changes_nothing(
    micro_tracker: Tracker, prompt: Callable[[], Prompt], error: type[Exception]
) -> None:
    stream, first = moved_on(micro_tracker)
    if error is CapacityError:
        for _ in range(2):
            stream.look_for(Prompt(mask=MASK), first)
    before = stream.objects
    with pytest.raises(error):
        stream.look_for(prompt(), first)
    assert stream.objects == before
