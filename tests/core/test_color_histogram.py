"""Two masks of one thing: the object that looks like it keeps it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_core import Prompt, Tracker, build_tracker
from sam_core.streaming import ObjectState, Stream
from sam_core.streaming.overlaps import Overlaps, colours_of, look_of
from sam_core.streaming.policy import Observation
from sam_core.streaming.tracking import Tracked
from tests.core.pattern import HEIGHT, WIDTH, frame

SIDE = 12
RED, BLUE = (220, 30, 30), (30, 30, 220)


def picture(left: tuple[int, int, int], right: tuple[int, int, int]) -> Tensor:
    """Return the colour bins of a picture of two halves."""
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, :20], image[:, 20:] = left, right
    return colours_of(torch.from_numpy(image).permute(2, 0, 1), SIDE)


def block(columns: slice, rows: slice = slice(None)) -> Tensor:
    """Return logits (SIDE, SIDE) of a mask of columns and rows."""
    logits = torch.full((SIDE, SIDE), -3.0)
    logits[rows, columns] = 2.0
    return logits


def tracked(*logits: Tensor) -> Tracked:
    n = len(logits)
    return Tracked(torch.stack(logits)[:, None], torch.full((n,), 0.9), torch.full((n, 1), 4.0), torch.zeros(n, 8))


def seen(count: int) -> list[Observation]:
    return [Observation(7, 0.9, 4.0, prompted=False) for _ in range(count)]


LEFT, RIGHT, ALL = slice(0, 6), slice(6, 12), slice(0, 12)


def settled(overlaps: Overlaps, *logits: Tensor, colours: Tensor, threshold: float = 0.0) -> tuple[Tensor, list[bool]]:
    shown, observations = overlaps.settle(
        range(1, len(logits) + 1), tracked(*logits), seen(len(logits)), colours, threshold
    )
    assert [o.yielded for o in observations] == (shown.score[:, 0] < 0).tolist()
    return shown.low_res[:, 0], [o.yielded for o in observations]


@pytest.fixture
def rivals() -> Overlaps:
    """Object 1 is red, object 2 blue."""
    overlaps = Overlaps()
    colours = picture(RED, BLUE)
    for object_id, columns in ((1, LEFT), (2, RIGHT)):
        overlaps.prompted(object_id, (block(columns) > 0).flatten(), colours)
    assert settled(overlaps, block(LEFT), block(RIGHT), colours=colours)[1] == [False, False]
    return overlaps


@pytest.mark.parametrize(("left", "owner"), [(RED, 0), (BLUE, 1)])
def test_a_thing_belongs_to_the_object_that_looks_like_it(
    rivals: Overlaps, left: tuple[int, int, int], owner: int
) -> None:
    logits, yielded = settled(rivals, block(LEFT), block(LEFT), colours=picture(left, (90, 90, 90)))
    assert torch.equal(logits[owner], block(LEFT))
    assert (logits[1 - owner] <= 0).all()
    assert yielded == [owner != 0, owner != 1]


def test_who_covers_two_things_keeps_its_own(rivals: Overlaps) -> None:
    """As at a crossing: the mask of one object swallows the other."""
    logits, yielded = settled(rivals, block(LEFT), block(ALL), colours=picture(RED, BLUE))
    assert torch.equal(logits[0] > 0, block(LEFT) > 0)
    assert torch.equal(logits[1] > 0, block(RIGHT) > 0)
    assert yielded == [False, False]


def test_the_threshold_of_masks_counts(rivals: Overlaps) -> None:
    logits, yielded = settled(rivals, block(LEFT), block(ALL), colours=picture(RED, BLUE), threshold=1.5)
    assert torch.equal(logits[1] > 1.5, block(RIGHT) > 0)
    assert yielded == [False, False]
    logits, yielded = settled(rivals, block(LEFT), block(ALL), colours=picture(RED, BLUE), threshold=2.5)
    assert torch.equal(logits, torch.stack([block(LEFT), block(ALL)]))
    assert yielded == [False, False]


def test_two_masks_of_two_things_are_shared_out(rivals: Overlaps) -> None:
    """Near the border, where both colours are around, some pixels may stay with both."""
    logits, yielded = settled(rivals, block(ALL), block(ALL), colours=picture(RED, BLUE))
    for own, mask in zip((LEFT, RIGHT), logits > 0, strict=True):
        assert torch.equal(mask | (block(slice(5, 7)) > 0), (block(own) > 0) | (block(slice(5, 7)) > 0))
    assert yielded == [False, False]


def test_what_looks_like_neither_is_left_to_both(rivals: Overlaps) -> None:
    shown, yielded = settled(rivals, block(LEFT), block(LEFT), colours=picture((30, 220, 30), BLUE))
    assert torch.equal(shown, torch.stack([block(LEFT), block(LEFT)]))
    assert yielded == [False, False]


def test_a_small_common_border_is_left_to_both(rivals: Overlaps) -> None:
    masks = block(LEFT), block(RIGHT)
    masks[0][:6, 6] = 2.0
    assert torch.equal(settled(rivals, *masks, colours=picture(RED, BLUE))[0], torch.stack(masks))


@pytest.mark.parametrize("change", ["forgotten", "prompted on nothing"])
def test_an_object_without_a_look_does_not_contend(rivals: Overlaps, change: str) -> None:
    colours = picture(RED, BLUE)
    if change == "forgotten":
        rivals.forget(2)
    else:
        rivals.prompted(2, torch.zeros(SIDE**2, dtype=torch.bool), colours)
    assert settled(rivals, block(LEFT), block(LEFT), colours=colours)[1] == [False, False]


def test_colours_are_sampled_from_any_size() -> None:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (37, 51, 3), dtype=np.uint8))
    colours = colours_of(image.permute(2, 0, 1), 8)
    assert colours.shape == (64,)
    row = int(1.5 * 37 / 8)
    red, green, blue = (image[row, int(0.5 * 51 / 8)] // 32).tolist()
    assert colours[8] == (red * 8 + green) * 8 + blue
    look = look_of(torch.ones(64, dtype=torch.bool), colours)
    assert look.shape == (512,)
    assert look.exp().sum() == pytest.approx(1 + 512 * 0.003)


def run(open_stream: Callable[..., Stream], overlaps: str) -> tuple[Stream, list[Tensor]]:
    """Track three objects, one of them prompted on an earlier frame."""
    stream = open_stream(max_objects=3, history_frames=3, overlaps=overlaps)
    shown = []
    for t in range(8):
        shown.append(stream.step(frame(t), t).masks)
        if t == 0:
            stream.add_prompt(Prompt(box=[10, 10, 50, 50]))
            stream.add_prompt(Prompt(box=[60, 30, 110, 80]))
        if t == 3:
            stream.add_prompt(Prompt(points=[[WIDTH / 2, HEIGHT / 2]], labels=[1], stamp=2))
    return stream, shown


def test_what_is_remembered_does_not_change(micro_tracker: Tracker) -> None:
    """Objects stay independent of each other; only what is shown of them differs."""
    kept, masks = run(micro_tracker.open_stream, "keep")
    looked, shown = run(micro_tracker.open_stream, "look")
    assert torch.equal(kept._bank.spatial, looked._bank.spatial)
    assert torch.equal(kept._bank.pointers, looked._bank.pointers)
    assert all((b <= a).all() for a, b in zip(masks, shown, strict=True))
    assert any((b < a).any() for a, b in zip(masks, shown, strict=True))
    assert looked.report().bytes_allocated > kept.report().bytes_allocated


def test_results_and_objects_agree_on_who_has_yielded(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream(max_objects=2, overlaps="look")
    stream.step(frame(0))
    for _ in range(2):
        stream.add_prompt(Prompt(box=[10, 10, 50, 50]))
    assert stream.step(frame(1)).states == (ObjectState.TRACKED, ObjectState.TRACKED)
    assert stream._overlaps is not None
    looks = stream._overlaps._looks
    looks[2] = looks[1] - 1  # every colour is the first one's
    result = stream.step(frame(2))
    assert result.states == (ObjectState.TRACKED, ObjectState.ABSENT)
    assert result.masks[0].any()
    assert not result.masks[1].any()
    for info, state, presence in zip(stream.objects, result.states, result.presence.tolist(), strict=True):
        assert info.state is state
        assert info.presence == pytest.approx(presence, abs=1e-5)


def test_a_model_names_how_overlaps_are_treated(micro_tracker: Tracker) -> None:
    assert micro_tracker.overlaps == "keep"
    assert build_tracker("sam2_nano", device="cpu").overlaps == "look"
    assert build_tracker("sam2_nano", device="cpu", overrides=["overlaps=keep"]).overlaps == "keep"
    with pytest.raises(ValueError, match="keep, look"):
        build_tracker("sam2_nano", device="cpu", overrides=["overlaps=share"])
    with pytest.raises(ValueError, match="keep, look"):
        micro_tracker.open_stream(overlaps="share")
