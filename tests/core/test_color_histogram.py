"""Non-overlap by colour histogram: where two masks overlap, pixels go to the object whose colours they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_core import Prompt, Tracker, build_tracker
from sam_core.streaming import ObjectState, Stream
from sam_core.streaming.postprocessing import ColorHistogramOverlap, ObjectMasks
from sam_core.streaming.postprocessing.color_histogram import colours_of, histogram_of
from tests.core.pattern import HEIGHT, WIDTH, frame

SIDE = 12
RED, BLUE = (220, 30, 30), (30, 30, 220)


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> Tensor:
    """Return an image (3, 30, 40) uint8 of two colours, side by side."""
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, :20], image[:, 20:] = left, right
    return torch.from_numpy(image).permute(2, 0, 1)


def block(columns: slice, rows: slice = slice(None)) -> Tensor:
    """Return logits (SIDE, SIDE) of a mask of columns and rows."""
    logits = torch.full((SIDE, SIDE), -3.0)
    logits[rows, columns] = 2.0
    return logits


LEFT, RIGHT, ALL = slice(0, 6), slice(6, 12), slice(0, 12)


def masks_of(*logits: Tensor, threshold: float = 0.0) -> ObjectMasks:
    count = len(logits)
    return ObjectMasks(torch.stack(logits), torch.full((count,), 4.0), (False,) * count, (30, 40), threshold)


def resolved(references: list[Tensor | None], *logits: Tensor, image: Tensor, threshold: float = 0.0) -> ObjectMasks:
    return ColorHistogramOverlap()(masks_of(*logits, threshold=threshold), image, references)


@pytest.fixture
def rivals() -> list[Tensor | None]:
    """References of two objects: the first was red when it was prompted, the second blue."""
    image = halves(RED, BLUE)
    references = [ColorHistogramOverlap().reference(masks_of(block(half)), image) for half in (LEFT, RIGHT)]
    assert resolved(references, block(LEFT), block(RIGHT), image=image).suppressed == (False, False)
    return references


@pytest.mark.parametrize(("left", "owner"), [(RED, 0), (BLUE, 1)])
def test_pixels_go_to_the_object_of_their_colour(
    rivals: list[Tensor | None], left: tuple[int, int, int], owner: int
) -> None:
    shown = resolved(rivals, block(LEFT), block(LEFT), image=halves(left, (90, 90, 90)))
    assert torch.equal(shown.logits[owner], block(LEFT))
    assert (shown.logits[1 - owner] <= 0).all()
    assert shown.suppressed == (owner != 0, owner != 1)
    assert (shown.scores < 0).tolist() == list(shown.suppressed)


def test_a_mask_that_covers_two_things_keeps_its_own(rivals: list[Tensor | None]) -> None:
    """As at a crossing: the mask of one object covers the other, too."""
    shown = resolved(rivals, block(LEFT), block(ALL), image=halves(RED, BLUE))
    assert torch.equal(shown.logits[0] > 0, block(LEFT) > 0)
    assert torch.equal(shown.logits[1] > 0, block(RIGHT) > 0)
    assert shown.suppressed == (False, False)


def test_the_threshold_of_masks_counts(rivals: list[Tensor | None]) -> None:
    shown = resolved(rivals, block(LEFT), block(ALL), image=halves(RED, BLUE), threshold=1.5)
    assert torch.equal(shown.logits[1] > 1.5, block(RIGHT) > 0)
    assert shown.suppressed == (False, False)
    shown = resolved(rivals, block(LEFT), block(ALL), image=halves(RED, BLUE), threshold=2.5)
    assert torch.equal(shown.logits, torch.stack([block(LEFT), block(ALL)]))
    assert shown.suppressed == (False, False)


def test_two_masks_of_both_things_are_split(rivals: list[Tensor | None]) -> None:
    """Near the border, where both colours are around, some pixels may stay with both."""
    shown = resolved(rivals, block(ALL), block(ALL), image=halves(RED, BLUE))
    for own, mask in zip((LEFT, RIGHT), shown.logits > 0, strict=True):
        assert torch.equal(mask | (block(slice(5, 7)) > 0), (block(own) > 0) | (block(slice(5, 7)) > 0))
    assert shown.suppressed == (False, False)


def test_pixels_of_neither_colour_stay_with_both(rivals: list[Tensor | None]) -> None:
    shown = resolved(rivals, block(LEFT), block(LEFT), image=halves((30, 220, 30), BLUE))
    assert torch.equal(shown.logits, torch.stack([block(LEFT), block(LEFT)]))
    assert shown.suppressed == (False, False)


def test_a_small_common_border_stays_with_both(rivals: list[Tensor | None]) -> None:
    masks = block(LEFT), block(RIGHT)
    masks[0][:6, 6] = 2.0
    assert torch.equal(resolved(rivals, *masks, image=halves(RED, BLUE)).logits, torch.stack(masks))


def test_a_single_object_and_one_without_a_reference_do_not_compete(rivals: list[Tensor | None]) -> None:
    image = halves(RED, BLUE)
    assert ColorHistogramOverlap().reference(masks_of(torch.full((SIDE, SIDE), -1.0)), image) is None
    alone = masks_of(block(ALL))
    assert ColorHistogramOverlap()(alone, image, rivals[:1]) is alone
    both = masks_of(block(LEFT), block(LEFT))
    assert ColorHistogramOverlap()(both, image, [rivals[0], None]) is both


def test_a_mask_that_was_suppressed_before_stays_suppressed(rivals: list[Tensor | None]) -> None:
    """As by another postprocessor, which comes first."""
    masks = replace(masks_of(block(LEFT), block(ALL)), suppressed=(True, False))
    assert ColorHistogramOverlap()(masks, halves(RED, BLUE), rivals).suppressed == (True, False)


def test_colours_are_sampled_from_any_size() -> None:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (37, 51, 3), dtype=np.uint8))
    colours = colours_of(image.permute(2, 0, 1), 8)
    assert colours.shape == (64,)
    row = int(1.5 * 37 / 8)
    red, green, blue = (image[row, int(0.5 * 51 / 8)] // 32).tolist()
    assert colours[8] == (red * 8 + green) * 8 + blue
    histogram = histogram_of(torch.ones(64, dtype=torch.bool), colours)
    assert histogram.shape == (512,)
    assert histogram.exp().sum() == pytest.approx(1 + 512 * 0.003)


def run(open_stream: Callable[..., Stream], non_overlap: str) -> tuple[Stream, list[Tensor]]:
    """Track three objects, one of them prompted on an earlier frame."""
    stream = open_stream(max_objects=3, history_frames=3, non_overlap=non_overlap)
    shown = []
    for t in range(8):
        shown.append(stream.step(frame(t), t).masks)
        if t == 0:
            stream.add_prompt(Prompt(box=[10, 10, 50, 50]))
            stream.add_prompt(Prompt(box=[60, 30, 110, 80]))
        if t == 3:
            stream.add_prompt(Prompt(points=[[WIDTH / 2, HEIGHT / 2]], labels=[1], stamp=2))
    return stream, shown


def test_memory_does_not_change(micro_tracker: Tracker) -> None:
    """Objects stay independent of each other; only the masks that results show differ."""
    plain, masks = run(micro_tracker.open_stream, "none")
    resolving, shown = run(micro_tracker.open_stream, "color_histogram")
    assert torch.equal(plain._tracker.bank.spatial, resolving._tracker.bank.spatial)
    assert torch.equal(plain._tracker.bank.pointers, resolving._tracker.bank.pointers)
    assert all((b <= a).all() for a, b in zip(masks, shown, strict=True))
    assert any((b < a).any() for a, b in zip(masks, shown, strict=True))


def with_references(stream: Stream, object_id: int, *references: Tensor) -> None:
    """Give an object other references for the postprocessors."""
    target = stream._state.objects[object_id]
    assert target.shown is not None
    changed = target.tracked(replace(target.shown, references=references), target.status)
    stream._state = stream._state.with_objects([changed])


def test_results_objects_and_history_agree_on_who_is_suppressed(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream(max_objects=2, non_overlap="color_histogram")
    stream.step(frame(0))
    for _ in range(2):
        stream.add_prompt(Prompt(box=[10, 10, 50, 50]))
    assert stream.step(frame(1)).states == (ObjectState.TRACKED, ObjectState.TRACKED)
    first = stream._state.objects[1].shown
    assert first is not None
    with_references(stream, 2, first.references[0] - 1)  # every colour is rather the first object's
    result = stream.step(frame(2))
    assert result.states == (ObjectState.TRACKED, ObjectState.ABSENT)
    assert result.masks[0].any()
    assert not result.masks[1].any()
    for info, state, presence in zip(stream.objects, result.states, result.presence.tolist(), strict=True):
        assert info.state is state
        assert info.presence == pytest.approx(presence, abs=1e-5)
    newest = stream.history.newest
    assert newest is not None
    assert [newest.objects[i].suppressed for i in (1, 2)] == [False, True]
    assert newest.mask_of(1, 0.0) is not None
    assert newest.mask_of(2, 0.0) is None


def test_a_prompt_renews_the_reference(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream(max_objects=2, non_overlap="color_histogram")
    stream.step(frame(0))
    stream.add_prompt(Prompt(box=[10, 10, 50, 50]))
    with_references(stream, 1, torch.zeros(512))
    stream.step(frame(1))
    drawn = np.zeros((HEIGHT, WIDTH), bool)
    drawn[20:60, 30:80] = True
    answer = stream.add_prompt(Prompt(mask=drawn), object_id=1)
    newest, shown = stream.history.newest, stream._state.objects[1].shown
    assert newest is not None
    assert newest.image is not None
    assert shown is not None
    mask = (answer.low_res[0] > 0).flatten()
    assert mask.any()
    assert torch.equal(shown.references[0], histogram_of(mask, colours_of(newest.image, answer.low_res.shape[1])))


def test_a_model_names_how_overlaps_are_resolved(micro_tracker: Tracker) -> None:
    assert micro_tracker.open_stream()._settings.non_overlap == "none"
    assert build_tracker("sam2_nano", device="cpu").choices["non_overlap"] == "color_histogram"
    without = build_tracker("sam2_nano", device="cpu", overrides=["non_overlap=none"])
    assert without.open_stream()._settings.non_overlap == "none"
    with pytest.raises(ValueError, match="none, highest_score, color_histogram, not 'share'"):
        build_tracker("sam2_nano", device="cpu", overrides=["non_overlap=share"])
    with pytest.raises(ValueError, match="none, highest_score, color_histogram, not 'share'"):
        micro_tracker.open_stream(non_overlap="share")
