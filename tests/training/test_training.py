from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sam_core.build import build_model
from sam_core.checkpoints import read_state_dict
from sam_core.training.__main__ import load_task
from sam_core.training.average import make_average
from sam_core.training.optim import make_optimizer, rate_at
from sam_core.training.run import export_weights, read_state
from sam_core.training.tracking.batches import synthetic_batch
from sam_core.training.tracking.interaction import PromptPlan
from sam_core.training.tracking.losses import LossWeights
from sam_core.training.tracking.settings import TrackingSettings, load_tracking_settings
from sam_core.training.tracking.start import set_image_size
from sam_core.training.tracking.task import TrackingTask
from sam_core.training.tracking.unroll import clip_losses
from sam_core.training.trainer import make_run, train, train_step


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _settings(output: Path, *overrides: str) -> TrackingSettings:
    return load_tracking_settings("micro", [f"output={output}", *overrides])


def _task(output: Path, *overrides: str) -> TrackingTask:
    return TrackingTask(_settings(output, *overrides))


def test_training_on_one_batch_lowers_the_loss(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run = make_run(TrackingTask(settings))
    stage = settings.stages[1]
    set_image_size(run.model, stage.size)
    batch = synthetic_batch(np.random.default_rng(0), stage.scenes, 1, 2)
    plan = PromptPlan(box=1.0, mask=0.0, correct=0.0, correct_later=0.0, far=0.0)
    losses = []
    for _ in range(12):
        result = clip_losses(
            run.model,
            batch,
            plan,
            settings.loss,
            run.auxiliary,
            torch.Generator().manual_seed(0),  # type: ignore[arg-type]
        )
        result.total.backward()
        for optimizer in run.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(result.total.detach()))
    assert min(losses[-3:]) < 0.8 * losses[0]


def test_every_part_gets_a_gradient(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run = make_run(TrackingTask(settings))
    batch = synthetic_batch(np.random.default_rng(0), settings.stages[1].scenes, 2, 3)
    set_image_size(run.model, settings.stages[1].size)
    for seed, plan in enumerate((PromptPlan(box=0.0, mask=0.0, correct=1.0), PromptPlan(mask=1.0, correct_later=1.0))):
        result = clip_losses(run.model, batch, plan, LossWeights(), None, torch.Generator().manual_seed(seed))
        result.total.backward()
    never = {"no_mem_pos_enc"}  # in the checkpoints, unused by SAM 2
    silent = {n for n, p in run.model.named_parameters() if p.grad is None} - never
    # corners of boxes were not asked for; the others depend on what the batch holds
    assert {n for n in silent if "point_embeddings" not in n and "no_obj" not in n} == set()


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = train(_task(tmp_path / "a"))
    train(_task(tmp_path / "b"), minutes=0.0)  # one step, then stop and save
    rest = train(_task(tmp_path / "b"))
    assert (rest.stage, rest.step) == (whole.stage, whole.step) == (2, 0)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, rest.average.state_dict()[name]), name
    assert (tmp_path / "a" / "history.jsonl").is_file()
    assert (tmp_path / "a" / "sam2.1_micro.safetensors").is_file()


def test_exported_weights_load_as_a_checkpoint(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run = make_run(TrackingTask(settings))
    path = tmp_path / "half.safetensors"
    size = export_weights(run.averaged.state_dict(), path, {"format": "pt"})
    assert size == path.stat().st_size
    assert all(v.dtype == torch.float16 for v in load_file(str(path)).values())
    again = make_run(TrackingTask(replace(settings, checkpoint=str(path))))
    for name, value in run.averaged.state_dict().items():
        assert torch.allclose(again.model.state_dict()[name], value, atol=1e-3, rtol=1e-3), name


def test_frozen_parts_stay(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "freeze=[image_encoder]")
    run = make_run(TrackingTask(settings))
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    stage = settings.stages[0]
    set_image_size(run.model, stage.size)
    record = train_step(run, TrackingTask(settings), stage)
    after = run.model.state_dict()
    assert record["loss"] > 0
    assert all(torch.equal(after[k], v) for k, v in before.items() if k.startswith("image_encoder"))
    assert not torch.equal(after["obj_ptr_proj.layers.0.weight"], before["obj_ptr_proj.layers.0.weight"]) or not (
        torch.equal(after["sam_mask_decoder.iou_token.weight"], before["sam_mask_decoder.iou_token.weight"])
    )


def test_evaluation_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    task = _task(tmp_path)
    run = make_run(task)
    task.enter_stage(run, task.settings.stages[1])
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    figures = task.evaluate(run, task.settings.stages[1])
    assert 0 <= figures["box_iou"] <= 1
    assert run.model.training
    assert all(torch.equal(run.model.state_dict()[k], v) for k, v in before.items())


def test_the_average_follows_the_weights(tmp_path: Path) -> None:
    task = _task(tmp_path, "ema=0.75", "lr=0.1")
    run = make_run(task)
    stage = task.settings.stages[0]
    task.enter_stage(run, stage)
    name = "sam_mask_decoder.iou_token.weight"
    expected = None
    for kept in (0.0, 2 / 11, 3 / 12):  # at most 0.75
        train_step(run, task, stage)
        weight = run.model.state_dict()[name].clone()
        expected = weight if expected is None else kept * expected + (1 - kept) * weight
    assert expected is not None
    torch.testing.assert_close(run.averaged.state_dict()[name], expected)
    assert not torch.equal(expected, weight)
    # What is evaluated are these weights, not values that were computed from earlier ones and kept.
    fresh = make_run(task)
    fresh.average.load_state_dict(run.average.state_dict())
    task.enter_stage(fresh, stage)
    assert task.evaluate(run, stage) == pytest.approx(task.evaluate(fresh, stage), nan_ok=True)


def test_learning_rate_warms_up_and_falls() -> None:
    stage = replace(load_tracking_settings("nano").stages[0], steps=100, rate=1.0, rate_end=0.1, warmup=10)
    assert rate_at(stage, 0) == pytest.approx(0.1)
    assert rate_at(stage, 10) > 0.97
    assert rate_at(stage, 100) == pytest.approx(0.1)


def test_settings_refuse_what_is_not_there() -> None:
    with pytest.raises(ValueError, match="known are"):
        load_tracking_settings("no_such_run")
    with pytest.raises(ValueError, match="not valid"):
        load_tracking_settings("nano", ["learning_rate=1"])


@pytest.mark.slow
def test_workers_share_their_weights(tmp_path: Path) -> None:
    output = tmp_path / "run"
    subprocess.run(
        [sys.executable, "-m", "sam_core.training", "micro", f"output={output}", "workers=2", "average_every=1"],
        check=True,
        timeout=300,
    )
    assert [path.name for path in output.iterdir() if path.name.startswith("rendezvous")] == []
    state = torch.load(output / "state.pt", weights_only=True)
    alone = train(_task(tmp_path / "alone"))
    assert (state["stage"], state["step"]) == (2, 0)
    name = "sam_mask_decoder.iou_token.weight"
    assert torch.isfinite(state["model"][name]).all()
    assert not torch.equal(state["model"][name], alone.model.state_dict()[name])  # the other worker draws other clips


@pytest.mark.parametrize(("name", "kind"), [("micro", "TrackingTask"), ("sam3_micro", "ConceptTask")])
def test_a_configuration_names_its_task(name: str, kind: str) -> None:
    assert type(load_task(name)).__name__ == kind


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match="known are tracking and concepts"):
        load_task("micro", ["task=depth"])


def test_the_average_of_a_short_run_follows_it() -> None:
    """With the decay alone, 0.55 of what is exported after 60 steps would be the weights after the first one."""
    model = torch.nn.Linear(1, 1, bias=False)
    average = make_average(model, 0.99)
    for step in range(1, 61):
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.update_parameters(model)
    assert 45 < float(average.module.weight.detach()) < 60
    for _ in range(2000):
        average.update_parameters(model)
    with torch.no_grad():
        model.weight.fill_(160.0)
    average.update_parameters(model)
    assert float(average.module.weight.detach()) == pytest.approx(
        61.0, abs=0.01
    )  # late in a run: the decay that was asked for


@pytest.mark.parametrize("model", ["sam2.1_micro", "edgetam_micro"])
def test_the_weights_of_layers_decay_and_what_stands_for_itself_does_not(model: str) -> None:
    network = build_model(model)
    names = {parameter: name for name, parameter in network.named_parameters()}
    decays = {
        names[parameter]: group["weight_decay"] > 0
        for group in make_optimizer(network, None, "adamw", 1e-4)[0].param_groups
        for parameter in group["params"]
    }
    assert decays.keys() == set(names.values())
    attention = "sam_mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj"
    assert decays[f"{attention}.weight"]
    assert not decays[f"{attention}.bias"]
    if model == "edgetam_micro":
        assert decays["image_encoder.trunk.body.stages_0.blocks.0.token_mixer.conv.c.weight"]
    assert not decays["sam_mask_decoder.mask_tokens.weight"]
    assert not decays["maskmem_tpos_enc"]
    assert not [name for name, yes in decays.items() if yes and "latents" in name]


def test_a_state_is_read_onto_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a GPU: its step counters would stay there, and each step of AdamW would wait for them."""
    task = _task(tmp_path)
    run = train(task, steps=1)
    places: list[Any] = []
    load = torch.load

    def listen(*args: Any, **more: Any) -> Any:
        places.append(more["map_location"])
        return load(*args, **more)

    monkeypatch.setattr(torch, "load", listen)
    state = read_state(tmp_path, task.identity())
    assert places == ["cpu"]
    assert state is not None
    run.load(state)
    assert all(float(values["step"]) == 1 for values in run.optimizers[0].state.values())


def test_a_state_as_a_checkpoint_means_the_average(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = train(_task(tmp_path), steps=2)
    with caplog.at_level("WARNING", "sam_core"):
        weights = read_state_dict(tmp_path / "state.pt")
    averaged = run.averaged.state_dict()
    assert weights.keys() == averaged.keys()
    assert all(torch.equal(weights[name], averaged[name]) for name in averaged)
    assert "the weights are those under 'average', not those under 'model'" in caplog.text
