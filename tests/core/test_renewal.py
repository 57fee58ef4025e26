"""An object that was lost for long begins anew under its id, and nothing of its life before remains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sam_core import Prompt, Tracker, build_tracker
from sam_core.streaming import ObjectState
from sam_core.synthetic import TwinScene
from tests.core.pattern import HEIGHT, WIDTH, frame

FPS = 8.0
HIDING = 1  # the number in the truth of the circle that goes behind a pillar
BACK = 74  # the frame on which it is wholly out again on the far side, for one that was prompted on frame 0
LATER = 12  # frames


@pytest.mark.parametrize("late", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_a_renewed_object_is_tracked_on_under_its_id(late: int) -> None:
    """With the shipped tracker; also where the prompt is of an earlier frame and the object has to catch up."""
    scene = TwinScene(width=320, height=240, fps=FPS)
    stream = build_tracker("sam2_nano", device="cpu").open_stream(max_objects=2)
    ious: list[float] = []
    for index in range(BACK + late + LATER):
        frame = scene.render(index)
        result = stream.step(frame.image, index)
        truth = frame.labels == HIDING
        if index == 0:
            stream.add_prompt(Prompt(mask=truth), label="circle")
        if index == BACK + late:
            searched = scene.render(BACK).labels == HIDING
            answer = stream.add_prompt(Prompt(mask=searched, stamp=BACK), object_id=1, renew=True)
            assert answer.object_ids == (1,)
        if index > BACK + late + 2 * late:  # carried two frames a step, it has caught up by now
            mask = result.masks[0].numpy()
            ious.append(float((mask & truth).sum() / max((mask | truth).sum(), 1)))
            assert result.object_ids == (1,)
            assert result.labels == ("circle",)
            assert result.states == (ObjectState.TRACKED,)
    assert len(ious) >= LATER - 1 - 2 * late
    assert min(ious) >= 0.5, ious
    (info,) = stream.objects
    assert (info.object_id, info.first_frame) == (1, BACK)


MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[20:60, 30:70] = True


@pytest.mark.parametrize("late", [0, 3])
@pytest.mark.parametrize("prompt", [{"mask": MASK}, {"points": [[60, 45], [20, 20]], "labels": [1, 0]}])
def test_a_renewed_object_remembers_nothing_of_before(
    micro_tracker: Tracker, prompt: dict[str, object], late: int
) -> None:
    """It is bit for bit the object that another stream begins with the same prompt."""
    renewed, begun = micro_tracker.open_stream(max_objects=2), micro_tracker.open_stream(max_objects=2)
    for index in range(9 + late):
        for stream in (renewed, begun):
            stream.step(frame(index), index)
            if index in (0, 8) and stream is renewed:  # there is a mask and clicks of before on that frame, too
                stream.add_prompt(Prompt(points=[[90, 30]]), object_id=1 if index else None)
    answers = [
        renewed.add_prompt(Prompt(**prompt, stamp=8), object_id=1, renew=True),
        begun.add_prompt(Prompt(**prompt, stamp=8)),
    ]
    assert torch.equal(answers[0].mask_logits, answers[1].mask_logits)
    for index in range(9 + late, 9 + 3 * late):  # until the new version has caught up
        renewed.step(frame(index), index)
        begun.step(frame(index), index)
    for index in range(9 + 3 * late, 14 + 3 * late):
        one, other = renewed.step(frame(index), index), begun.step(frame(index), index)
        assert one.object_ids == other.object_ids == (1,)
        assert torch.equal(one.mask_logits, other.mask_logits)
        assert renewed.report().spatial_slots_used == begun.report().spatial_slots_used
