"""A result that shows a detection's mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sam_core import Prompt, Tracker
from sam_core.association.merging import as_detected
from sam_core.streaming import ObjectState
from tests.core.pattern import HEIGHT, WIDTH, frame


@pytest.mark.parametrize(("logit", "state", "area"), [(-1.0, ObjectState.NO_MASK, 0), (1.0, ObjectState.TRACKED, 1)])
def test_the_state_goes_with_the_mask(micro_tracker: Tracker, logit: float, state: ObjectState, area: int) -> None:
    stream = micro_tracker.open_stream()
    stream.step(frame(0))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:60, 20:80] = True
    result = stream.add_prompt(Prompt(mask=mask))

    shown = as_detected(result, torch.full_like(result.low_res[0], logit), 0.0)

    assert shown.states == (state,)
    assert shown.areas.tolist() == [area * HEIGHT * WIDTH]
