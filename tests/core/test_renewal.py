"""An object that was lost for long begins anew under its id, with the shipped tracker and SAM 2's own memory."""

from __future__ import annotations

import pytest

from sam_core import Prompt, build_tracker
from sam_core.streaming import ObjectState
from sam_core.synthetic import TwinScene

FPS = 8.0
HIDING = 1  # the number in the truth of the circle that goes behind a pillar
BACK = 74  # the frame on which it is wholly out again on the far side, for one that was prompted on frame 0
LATER = 12  # frames


@pytest.mark.parametrize("late", [0, 3])
def test_a_renewed_object_is_tracked_on_under_its_id(late: int) -> None:
    """Also where the prompt is of an earlier frame, so that the object is carried through the frames since."""
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
