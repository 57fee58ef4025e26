from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sam_core import CheckpointError
from sam_core.build import build_model
from sam_core.sam2 import Sam2
from sam_core.training.run import export_weights
from sam_core.training.scenes import SceneSettings
from sam_core.training.tracking.batches import synthetic_batch
from sam_core.training.tracking.deepen import load_shallower
from sam_core.training.tracking.initialise import initialise
from sam_core.training.tracking.interaction import PromptPlan
from sam_core.training.tracking.losses import LossWeights
from sam_core.training.tracking.settings import load_tracking_settings
from sam_core.training.tracking.task import TrackingTask
from sam_core.training.tracking.unroll import clip_losses
from sam_core.training.trainer import make_run, train_step

_DEEP = (
    "model.image_encoder.trunk.stages=[2,2,3,2]",
    "model.image_encoder.trunk.global_att_blocks=[5]",
    "model.memory_attention.num_layers=4",
)


def _model(*overrides: str) -> Sam2:
    torch.manual_seed(len(overrides))
    model = build_model("sam2.1_micro", overrides)
    initialise(model)
    return model.eval()


@torch.no_grad()
def test_a_deepened_model_computes_what_the_shallow_one_does() -> None:
    shallow, deep = _model(), _model(*_DEEP)
    new = load_shallower(deep, shallow.state_dict())
    assert len(new) == len(deep.state_dict()) - len(shallow.state_dict()) > 0
    batch = synthetic_batch(np.random.default_rng(0), SceneSettings(size=shallow.image_size, frames=4), 1, 3)
    plan = PromptPlan(mask=0.0)
    before, after = (
        clip_losses(model, batch, plan, LossWeights(), generator=torch.Generator().manual_seed(1))
        for model in (shallow, deep)
    )
    torch.testing.assert_close(after.total, before.total)
    torch.testing.assert_close(after.score, before.score)
    assert torch.equal(after.iou, before.iou)


def test_a_run_starts_from_a_shallower_checkpoint_and_moves_what_is_new(tmp_path: Path) -> None:
    settings = load_tracking_settings("micro", [f"output={tmp_path}", "deepen=true"])
    path = tmp_path / "shallow.safetensors"
    export_weights(_model().state_dict(), path, {"format": "pt"})
    task = TrackingTask(replace(settings, checkpoint=str(path), model_overrides=_DEEP))
    run = make_run(task)
    layer = run.model.memory_attention.layers[-1]
    assert not layer.linear2.weight.any()
    assert layer.linear1.weight.any()
    stage = settings.stages[1]  # of clips: memory takes part
    task.enter_stage(run, stage)
    train_step(run, task, stage)
    assert layer.linear2.weight.any()


def test_another_model_is_refused() -> None:
    weights = _model().state_dict()
    with pytest.raises(CheckpointError, match="shallower"):
        load_shallower(_model("model.image_encoder.trunk.stages=[1,1,1,1]"), weights)
    wide = {k: torch.cat([v, v]) if k.startswith("obj_ptr_proj") else v for k, v in weights.items()}
    with pytest.raises(CheckpointError, match="obj_ptr_proj"):
        load_shallower(_model(*_DEEP), wide)
