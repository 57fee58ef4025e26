"""SAM 1 on a user's images: prompts, losses and files as for SAM 2, without frames, memory and absence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks.reference.sam1 import official_sam
from sam_core.build import build_predictor
from sam_core.checkpoints import read_state_dict
from sam_core.errors import CheckpointError
from sam_core.sam1 import Sam1
from sam_core.sam2.features import PromptBatch
from sam_core.training.__main__ import main
from sam_core.training.tracking.interaction import PromptPlan
from sam_core.training.tracking.losses import LossWeights
from sam_core.training.tracking.settings import load_tracking_settings
from sam_core.training.tracking.start import start_model
from sam_core.training.tracking.stills import still_losses
from sam_core.training.tracking.task import TrackingTask
from sam_core.training.trainer import make_run, train, train_step

SMALL = ("model=sam_vit_micro", "checkpoint=null", "device=cpu", "autocast=false", "threads=1", "stages.0.clips=2",
         "stages.0.scenes.frames=1", "stages.0.warmup=1", "evaluate_clips=2", "file_type=pth")  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return six pictures, 80 x 60 px, each with a square and a disc."""
    root = tmp_path_factory.mktemp("stills")
    for k in range(6):
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / f"picture{k}").mkdir(parents=True)
        labels = np.zeros((60, 80), np.uint8)
        cv2.rectangle(labels, (6 + k, 8), (30 + k, 30 + k), 1, -1)
        cv2.circle(labels, (56 - k, 34 + k), 12, 2, -1)
        image = np.array([[30, 40, 50], [20, 40, 220], [200, 180, 30]], np.uint8)[labels]
        cv2.imwrite(str(root / "JPEGImages" / f"picture{k}" / "0.png"), image)
        cv2.imwrite(str(root / "Annotations" / f"picture{k}" / "0.png"), labels)
    return root


def _task(images: Path, output: Path, *more: str) -> TrackingTask:
    return TrackingTask(load_tracking_settings("finetune", [f"folder={images}", f"output={output}", *SMALL, *more]))


def test_the_result_loads_strictly_here_and_in_metas_code(images: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.pth"
    torch.manual_seed(5)
    torch.save(official_sam("sam_vit_micro").state_dict(), start)
    run = train(
        _task(images, tmp_path / "run", f"checkpoint={start}", "stages.0.steps=2", "freeze=[image_encoder]", "ema=0.0")
    )

    result = tmp_path / "run" / "sam_vit_micro.pth"
    written = torch.load(result, weights_only=True)
    official_sam("sam_vit_micro").load_state_dict(written, strict=True)
    before = read_state_dict(start)
    changed = {name for name in before if not torch.equal(before[name], written[name])}
    assert changed
    assert not {name for name in changed if name.startswith("image_encoder.")}
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [record["step"] for record in history] == [0, 2]
    assert all(0 <= record[f"eval_{kind}_iou"] <= 1 for record in history for kind in ("click", "box"))
    loaded = build_predictor("sam_vit_micro", result, device="cpu", dtype="float32").network
    assert run.averaged.mask_decoder.iou_token.weight.equal(loaded.mask_decoder.iou_token.weight)


def test_what_is_learnt_holds_for_the_predictor(images: Path, tmp_path: Path) -> None:
    """From random weights, a box soon gives its object, also on the picture as it is, which is no square."""
    train(_task(images, tmp_path, "stages.0.steps=140", "lr=3e-3", "ema=0.9", "stages.0.prompts.box=1.0"))
    predictor = build_predictor("sam_vit_micro", tmp_path / "sam_vit_micro.pth", device="cpu", dtype="float32")
    pixels = cv2.imread(str(images / "JPEGImages" / "picture2" / "0.png"))
    labels = cv2.imread(str(images / "Annotations" / "picture2" / "0.png"), cv2.IMREAD_UNCHANGED)
    predictor.set_image(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    for number in (1, 2):
        truth = labels == number
        rows, columns = truth.any(1).nonzero()[0], truth.any(0).nonzero()[0]
        box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        mask = np.asarray(predictor.predict(boxes=box, multimask=False).masks)[0, 0]
        assert (mask & truth).sum() / (mask | truth).sum() > 0.6


def test_every_part_gets_a_gradient(images: Path, tmp_path: Path) -> None:
    task = _task(images, tmp_path, "stages.0.prompts.correct=1.0", "stages.0.prompts.box=0.5")
    run, stage = make_run(task), task.settings.stages[0]
    task.enter_stage(run, stage)
    loss, _ = task.loss(run, stage, task.draw(run, stage))
    loss.backward()
    without = {name for name, p in run.model.named_parameters() if p.grad is None}
    assert without <= {"prompt_encoder.not_a_point_embed.weight"}  # no gradient reaches it where all prompts are boxes


def test_corrections_and_checkpointing(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, bool, bool, bool]] = []
    segment = Sam1.segment

    def listen(self: Sam1, features: object, prompts: PromptBatch, *, multimask: bool) -> object:
        asked.append((prompts.points.shape[1], prompts.has_box, prompts.logits is not None, multimask))
        return segment(self, features, prompts, multimask=multimask)  # type: ignore[arg-type]

    monkeypatch.setattr(Sam1, "segment", listen)
    plan = PromptPlan(box=0.5, correct=1.0, corrections=1)
    losses = []
    for checkpointing in ("false", "true"):
        task = _task(images, tmp_path, f"checkpointing={checkpointing}")
        run = make_run(task)
        stage = task.settings.stages[0]
        task.enter_stage(run, stage)
        batch = task.draw(run, stage)
        run.model.zero_grad()
        found = still_losses(run.model, batch, plan, LossWeights(), None, run.generator, task.settings.checkpointing)
        found.total.backward()
        losses.append((float(found.total.detach()), run.model.image_encoder.pos_embed.grad))
    once = [(1, False, False, True), (2, False, True, False), (2, True, False, False), (3, True, True, False)]
    assert asked == once * 2
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    torch.testing.assert_close(losses[0][1], losses[1][1], atol=1e-5, rtol=1e-3)


def test_two_and_one_steps_are_three_steps(images: Path, tmp_path: Path) -> None:
    whole = train(_task(images, tmp_path / "a", "stages.0.steps=3"))
    train(_task(images, tmp_path / "b", "stages.0.steps=3"), steps=2)
    parts = train(_task(images, tmp_path / "b", "stages.0.steps=3"))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, parts.model.state_dict()[name]), name


def test_bfloat16(images: Path, tmp_path: Path) -> None:
    task = _task(images, tmp_path, "autocast=true")
    run, stage = make_run(task), task.settings.stages[0]
    task.enter_stage(run, stage)
    assert np.isfinite(train_step(run, task, stage)["norm"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["stages.0.scenes.frames=4"], "SAM 1 has no memory to follow things with: set scenes.frames=1"),
        (["loss.auxiliary=1"], "SAM 1 is trained without readouts"),
        (["stages.0.size=128"], "SAM 1's position tables are for 96 px: a stage cannot have size 128"),
        (["deepen=true"], "SAM 1 cannot be started from a shallower model"),
        (["checkpoint=shipped"], "No weights ship with sam_vit_micro"),
    ],
)
def test_bad_settings_end_the_command_with_a_sentence(
    overrides: list[str], words: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    command = ["sam-train", "finetune", f"folder={images}", f"output={tmp_path}", *SMALL, *overrides]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert words in capsys.readouterr().err


def test_a_model_of_another_kind_is_named(images: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    settings = load_tracking_settings(
        "finetune", [f"folder={images}", *SMALL, f"checkpoint={tmp_path / 'other.pth'}", f"output={tmp_path}"]
    )
    with pytest.raises(CheckpointError, match=r"other.pth does not fit sam_vit_micro"):
        start_model(settings)
