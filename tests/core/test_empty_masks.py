"""What is said of objects whose mask is empty: too small for the network's masks, or below the threshold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sam_core import ObjectState, Prompt, PromptError, Tracker
from sam_core.streaming import Stream

HEIGHT, WIDTH = 1080, 1920  # one place of micro's masks of 32 × 32 covers 60 × 33.75 px
CLICK = Prompt(points=[[900.0, 500.0]])


def image(index: int = 0) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def square(side: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[500 : 500 + side, 900 : 900 + side] = True
    return mask


@pytest.fixture
def stream(micro_tracker: Tracker) -> Stream:
    stream = micro_tracker.open_stream(max_objects=2)
    stream.step(image())
    return stream


@pytest.mark.parametrize("side", [6, 12, 20])
def test_a_mask_that_the_low_resolution_cannot_hold_is_refused(stream: Stream, side: int) -> None:
    with pytest.raises(PromptError, match=rf"of {side * side} px is too small .* covers 60.0 × 33.8 px"):
        stream.add_prompt(Prompt(mask=square(side)))
    assert stream.objects == ()
    assert stream.report().objects == 0


def test_a_mask_that_it_can_hold_is_taken(stream: Stream) -> None:
    result = stream.add_prompt(Prompt(mask=square(120)))
    assert result.states == (ObjectState.TRACKED,)
    assert result.areas[0] > 0
    assert result.remarks == ()


def test_a_prompt_below_the_threshold_says_so(stream: Stream) -> None:
    stream.mask_threshold = 1000.0
    result = stream.add_prompt(CLICK)
    assert result.states == (ObjectState.NO_MASK,)
    (remark,) = result.remarks
    assert remark.startswith("The network sees the object, but no pixel of its mask is above the threshold 1000")
    assert "60.0 × 33.8 px" in remark


def test_a_prompt_on_what_the_network_does_not_see_says_so(micro_tracker: Tracker) -> None:
    bias = dict(micro_tracker.model.named_parameters())["sam_mask_decoder.pred_obj_score_head.layers.2.bias"]
    before = bias.detach().clone()
    try:
        with torch.no_grad():
            bias.fill_(-100.0)
        stream = micro_tracker.open_stream(max_objects=2)
        stream.step(image())
        result = stream.add_prompt(CLICK)
    finally:
        with torch.no_grad():
            bias.copy_(before)
    assert result.states == (ObjectState.ABSENT,)
    assert result.remarks == ("The network does not see the object in this image (presence 0.00).",)


def test_an_empty_mask_is_never_tracked(stream: Stream) -> None:
    """The state follows the mask from frame to frame, in results, in facts and in the history; presence stays."""
    stream.add_prompt(CLICK, label="cup")
    for index, threshold, state in (
        (1, 0.0, ObjectState.TRACKED),
        (2, 1000.0, ObjectState.NO_MASK),
        (3, 0.0, ObjectState.TRACKED),
    ):
        stream.mask_threshold = threshold
        result = stream.step(image(index))
        assert result.states == (state,)
        assert bool(result.areas[0] > 0) == (state is ObjectState.TRACKED)
        assert result.presence[0] > 0.5
        (info,) = stream.objects
        assert info.state is state
        assert info.presence == pytest.approx(float(result.presence[0]))
        newest = stream.history.newest
        assert newest is not None
        assert newest.objects[1].state is state
