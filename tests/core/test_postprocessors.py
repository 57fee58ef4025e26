"""The chain of mask postprocessors: its order, what it needs, and that results and history tell of the same masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sam_core import Prompt, Stream, Tracker
from sam_core.streaming import StreamSettings
from sam_core.streaming.frame_tracker import postprocessors_of
from sam_core.streaming.postprocessing import (
    ColorHistogramOverlap,
    FillHoles,
    GuidedFilterRefinement,
    HighestScoreOverlap,
    ObjectMasks,
)
from tests.core.pattern import HEIGHT, WIDTH, frame

GUIDED = {"mask_refinement": "guided_filter"}
CHAINS: list[tuple[dict[str, Any], list[type]]] = [
    ({}, []),
    ({"fill_hole_area": 8, **GUIDED}, [FillHoles, GuidedFilterRefinement]),
    ({"non_overlap": "color_histogram", **GUIDED}, [ColorHistogramOverlap, GuidedFilterRefinement]),
    (
        {"fill_hole_area": 8, "non_overlap": "highest_score", **GUIDED},
        [FillHoles, GuidedFilterRefinement, HighestScoreOverlap],
    ),
]


@pytest.mark.parametrize(("choices", "expected"), CHAINS)
def test_postprocessors_are_applied_in_a_fixed_order(choices: dict[str, Any], expected: list[type]) -> None:
    settings = StreamSettings(**choices)
    chain = postprocessors_of(settings)
    assert [type(postprocessor) for postprocessor in chain] == expected
    assert settings.needs_images == any(postprocessor.needs_image for postprocessor in chain)


def run(tracker: Tracker, frames: int = 4, **choices: Any) -> Stream:
    """Track three objects that overlap."""
    stream = tracker.open_stream(max_objects=3, **choices)
    drawn = np.zeros((HEIGHT, WIDTH), bool)
    drawn[20:70, 30:90] = True
    drawn[40:48, 50:58] = False
    for t in range(frames):
        stream.step(frame(t), t)
        if t == 0:
            for prompt in (Prompt(mask=drawn), Prompt(points=[[60, 45]]), Prompt(box=[20, 10, 70, 60])):
                stream.add_prompt(prompt)
    return stream


@pytest.mark.parametrize(("choices", "_"), CHAINS[1:])
def test_results_and_history_tell_of_the_same_masks(micro_tracker: Tracker, choices: dict[str, Any], _: Any) -> None:
    stream = run(micro_tracker, **choices)
    result, newest = stream.step(frame(4), 4), stream.history.frame_at()
    assert torch.equal(result.masks, result.mask_logits > 0)
    assert result.areas.tolist() == result.masks.sum((1, 2)).tolist()
    for object_id, mask in zip(result.object_ids, result.masks, strict=True):
        cropped = newest.mask_of(object_id, 0.0)
        assert cropped is not None
        np.testing.assert_array_equal(cropped.full(), mask.numpy())
    if choices.get("non_overlap") == "highest_score":
        assert int(result.masks.sum(0).max()) == 1
        for x, y in ((30, 20), (60, 45), (75, 50), (100, 80)):
            owners = [i for i, mask in zip(result.object_ids, result.masks, strict=True) if mask[y, x]]
            assert newest.object_at(x, y, 0.0) == (owners[0] if owners else None)


def test_only_filled_prompts_change_what_is_remembered(micro_tracker: Tracker) -> None:
    """The chain changes no memory; but `fill_hole_area` also fills the holes of the masks that prompts leave there."""
    plain, filling, rest = (
        run(micro_tracker, **choices)
        for choices in ({}, {"fill_hole_area": 8}, {"non_overlap": "highest_score", **GUIDED})
    )
    assert torch.equal(plain._tracker.bank.spatial, rest._tracker.bank.spatial)
    row = plain._state.objects[1].latest.row
    assert not torch.equal(plain._tracker.bank.spatial[row], filling._tracker.bank.spatial[row])


def test_one_object_keeps_all_its_pixels() -> None:
    masks = ObjectMasks(torch.randn(1, 8, 8), torch.ones(1), (False,), (30, 40), 0.0)
    assert HighestScoreOverlap()(masks, None, [None]) is masks


def test_a_prompt_changes_no_other_object(micro_tracker: Tracker) -> None:
    """Neither what is remembered nor what is shown, where masks overlap or are clicked on as another object."""
    stream = run(micro_tracker, non_overlap="color_histogram")
    before, bank = stream.history.frame_at().objects, stream._tracker.bank.spatial.clone()
    rows = [stream._state.objects[i].latest.row for i in (1, 2, 3)]
    stream.remove(3)
    stream.add_prompt(Prompt(points=[[60, 45], [40, 30]], labels=[1, 0]))
    after = stream.history.frame_at().objects
    assert [after[i] is before[i] for i in (1, 2)] == [True, True]
    assert torch.equal(stream._tracker.bank.spatial[rows[:2]], bank[rows[:2]])
