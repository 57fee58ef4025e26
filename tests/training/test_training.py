from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sam_core.training.batches import synthetic_batch
from sam_core.training.davis import clip_from, find_videos
from sam_core.training.losses import LossWeights
from sam_core.training.optim import rate_at
from sam_core.training.settings import Settings, load_settings
from sam_core.training.state import export_weights, set_image_size
from sam_core.training.trainer import evaluate, make_run, train, train_step
from sam_core.training.unroll import PromptPlan, clip_losses


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _settings(output: Path, *overrides: str) -> Settings:
    return load_settings("micro", [f"output={output}", *overrides])


def test_training_on_one_batch_lowers_the_loss(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run = make_run(settings)
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
    run = make_run(settings)
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
    whole = train(_settings(tmp_path / "a"))
    train(_settings(tmp_path / "b"), minutes=0.0)  # one step, then stop and save
    rest = train(_settings(tmp_path / "b"))
    assert (rest.stage, rest.step) == (whole.stage, whole.step) == (2, 0)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name
    assert torch.equal(
        whole.average.values["obj_ptr_proj.layers.0.weight"], rest.average.values["obj_ptr_proj.layers.0.weight"]
    )
    assert (tmp_path / "a" / "history.jsonl").is_file()
    assert (tmp_path / "a" / "sam2.1_micro.safetensors").is_file()


def test_exported_weights_load_as_a_checkpoint(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run = make_run(settings)
    path = tmp_path / "half.safetensors"
    size = export_weights(run.average.values, path, {"format": "pt"})
    assert size == path.stat().st_size
    assert all(v.dtype == torch.float16 for v in load_file(str(path)).values())
    again = make_run(replace(settings, checkpoint=str(path)))
    for name, value in run.average.values.items():
        assert torch.allclose(again.model.state_dict()[name], value, atol=1e-3, rtol=1e-3), name


def test_frozen_parts_stay(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "freeze=[image_encoder]")
    run = make_run(settings)
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    stage = settings.stages[0]
    set_image_size(run.model, stage.size)
    record = train_step(run, settings, stage, None)
    after = run.model.state_dict()
    assert record["loss"] > 0
    assert all(torch.equal(after[k], v) for k, v in before.items() if k.startswith("image_encoder"))
    assert not torch.equal(after["obj_ptr_proj.layers.0.weight"], before["obj_ptr_proj.layers.0.weight"]) or not (
        torch.equal(after["sam_mask_decoder.iou_token.weight"], before["sam_mask_decoder.iou_token.weight"])
    )


def test_evaluation_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run = make_run(settings)
    set_image_size(run.model, settings.stages[1].size)
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    figures = evaluate(run, settings.stages[1], clips=4)
    assert 0 <= figures["box_iou"] <= 1
    assert run.model.training
    assert all(torch.equal(run.model.state_dict()[k], v) for k, v in before.items())


def test_learning_rate_warms_up_and_falls() -> None:
    stage = replace(load_settings("nano").stages[0], steps=100, rate=1.0, rate_end=0.1, warmup=10)
    assert rate_at(stage, 0) == pytest.approx(0.1)
    assert rate_at(stage, 10) > 0.97
    assert rate_at(stage, 100) == pytest.approx(0.1)


def test_settings_refuse_what_is_not_there() -> None:
    with pytest.raises(ValueError, match="known are"):
        load_settings("no_such_run")
    with pytest.raises(ValueError, match="not valid"):
        load_settings("nano", ["learning_rate=1"])


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind / "480p" / "cup").mkdir(parents=True)
    for t in range(6):
        image = np.full((48, 64, 3), 40, np.uint8)
        mask = np.zeros((48, 64), np.uint8)
        image[10:30, 5 + 4 * t : 25 + 4 * t] = (0, 0, 255)  # red in OpenCV's order
        mask[10:30, 5 + 4 * t : 25 + 4 * t] = 7
        mask[:3] = 255
        cv2.imwrite(str(tmp_path / "JPEGImages" / "480p" / "cup" / f"{t:05d}.jpg"), image)
        if t != 3:
            cv2.imwrite(str(tmp_path / "Annotations" / "480p" / "cup" / f"{t:05d}.png"), mask)
    return tmp_path


def test_davis_folder_becomes_clips(davis: Path) -> None:
    (video,) = find_videos(davis)
    assert video.name == "480p/cup"
    assert len(video.frames) == 5  # one frame has no mask
    clip = clip_from(video, np.random.default_rng(0), size=64, frames=4)
    assert clip.images.shape == (4, 64, 64, 3)
    assert clip.objects == 1
    assert sorted(np.unique(clip.labels)) == [0, 1]
    red = clip.images[clip.labels == 1].mean(0)
    assert red[0] > 200
    assert red[2] < 60


def test_davis_folder_trains(davis: Path, tmp_path: Path) -> None:
    settings = _settings(tmp_path / "run", f"folder={davis}")
    run = train(settings)
    assert run.stage == len(settings.stages)
    assert all(torch.isfinite(p).all() for p in run.model.parameters())


def test_davis_folder_must_have_the_layout(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JPEGImages"):
        find_videos(tmp_path)
