"""Unrolling: silent frames get no gradient and change no number; a still image is prompted by click and by box."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam_core.sam2 import Sam2, SamOutput
from sam_core.training.tracking.batches import Batch, synthetic_batch
from sam_core.training.tracking.interaction import PromptPlan
from sam_core.training.tracking.losses import LossWeights
from sam_core.training.tracking.settings import load_tracking_settings
from sam_core.training.tracking.start import set_image_size
from sam_core.training.tracking.stills import still_losses
from sam_core.training.tracking.task import TrackingTask
from sam_core.training.tracking.unroll import clip_losses
from sam_core.training.trainer import make_run

FRAMES = 6
SILENT = 3
PLAN = PromptPlan(box=1.0, mask=0.0, correct=0.0, correct_later=0.0, far=0.0)


@pytest.fixture
def case(tmp_path: Path) -> tuple[Sam2, Batch]:
    torch.set_num_threads(1)
    settings = load_tracking_settings("micro", [f"output={tmp_path}"])
    model = make_run(TrackingTask(settings)).model
    stage = settings.stages[1]
    set_image_size(model, stage.size)
    return model, synthetic_batch(np.random.default_rng(0), replace(stage.scenes, frames=FRAMES), 2, 2)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_silent_frames_change_no_answer(case: tuple[Sam2, Batch]) -> None:
    model, batch = case
    with torch.no_grad():
        whole = clip_losses(model, batch, PLAN, LossWeights(), None, _generator())
        part = clip_losses(model, batch, PLAN, LossWeights(), None, _generator(), silent=SILENT)
    assert part.iou.shape[1] == FRAMES - SILENT
    matches = [
        [t for t in range(FRAMES) if torch.allclose(part.score[:, i], whole.score[:, t], atol=1e-5)]
        for i in range(FRAMES - SILENT)
    ]
    assert matches[0] == [0]
    assert all(len(m) >= 1 for m in matches)  # every supervised frame has the same output as without silent frames


def test_silent_frames_get_no_gradient(case: tuple[Sam2, Batch]) -> None:
    model, batch = case
    images: list[torch.Tensor] = []
    handle = model.image_encoder.register_forward_hook(
        lambda module, inputs, output: images.append(torch.tensor([inputs[0].shape[0], torch.is_grad_enabled()]))
    )
    result = clip_losses(model, batch, PLAN, LossWeights(), None, _generator(), silent=SILENT)
    handle.remove()
    result.total.backward()
    clips = batch.images.shape[0]
    assert [tuple(map(int, i)) for i in images] == [(clips * (FRAMES - SILENT), 1), (clips * SILENT, 0)]
    gradient = model.memory_encoder.out_proj.weight.grad
    assert gradient is not None
    assert bool(gradient.abs().sum() > 0)


def test_a_still_picture_is_asked_by_click_and_by_box(case: tuple[Sam2, Batch]) -> None:
    model, batch = case
    first = slice(0, 1)
    still = Batch(
        batch.images[:, first], batch.clip, batch.targets[:, first], batch.visible[:, first], batch.sure[:, first]
    )
    with torch.no_grad():
        both = still_losses(model, still, replace(PLAN, box=0.5), LossWeights(), None, _generator())
        boxes = still_losses(model, still, PLAN, LossWeights(), None, _generator())
    assert both.iou.shape[1] == 2
    assert boxes.iou.shape[1] == 1


def test_masks_are_asked_for_as_in_a_stream(case: tuple[Sam2, Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three candidates for a first click, and where objects are tracked if the model says so."""
    model, batch = case
    asked: list[bool] = []
    decode = Sam2.decode

    def listen(self: Sam2, *args: Any, **more: Any) -> SamOutput:
        asked.append(more["multimask"])
        return decode(self, *args, **more)

    monkeypatch.setattr(Sam2, "decode", listen)
    for box, clicked, tracked in product((0.0, 1.0), (True, False), (True, False)):
        asked.clear()
        model.multimask_for_clicks, model.multimask_for_tracking = clicked, tracked
        with torch.no_grad():
            clip_losses(model, batch, replace(PLAN, box=box), LossWeights(), None, _generator())
        assert asked == [box == 0.0 and clicked] + [tracked] * (FRAMES - 1)
