"""Settings of a training: what is frozen, what the configurations say, and that wrong ones end with a sentence."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from benchmarks.reference.peers import required
from sam_core.build import build_model
from sam_core.training.__main__ import main
from sam_core.training.tracking.freeze import freeze
from sam_core.training.tracking.start import set_image_size
from tests.training.fine_tuning_rig import arguments_of, make_task


def test_modules_and_patterns_are_frozen() -> None:
    model = build_model("sam2.1_micro")
    frozen = freeze(model, ["image_encoder.trunk", "*.norm1.weight"])
    assert frozen == sorted(name for name, p in model.named_parameters() if not p.requires_grad)
    assert not [
        name for name in frozen if not (name.startswith("image_encoder.trunk.") or name.endswith("norm1.weight"))
    ]
    assert all(name in frozen for name, _ in model.named_parameters() if name.startswith("image_encoder.trunk."))


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        (["image_encodr"], "Nothing is called 'image_encodr'.* image_encoder, memory_attention"),
        (["image"], "Nothing is called 'image'"),  # a part of a name is no module
        (["*"], "Nothing is left to train"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused(patterns: Sequence[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        freeze(build_model("sam2.1_micro"), patterns)


def test_the_losses_have_the_weights_of_metas_fine_tuning(clips: Path, tmp_path: Path) -> None:
    path = Path(required("sam2").__file__).parent / "configs/sam2.1_training/sam2.1_hiera_b+_MOSE_finetune.yaml"
    theirs = OmegaConf.load(path).trainer.loss.all
    loss = make_task(clips, tmp_path).settings.loss
    assert (loss.focal, loss.dice, loss.iou, loss.score) == tuple(
        theirs.weight_dict[name] for name in ("loss_mask", "loss_dice", "loss_iou", "loss_class")
    )
    assert theirs.iou_use_l1_loss
    assert (loss.alpha, loss.gamma) == (0.25, 2.0)  # defaults of training/loss_fns.py
    assert (loss.absent, loss.auxiliary, loss.size) == (1.0, 0.0, 0.0)


def test_autocast_is_left_to_the_device(clips: Path, tmp_path: Path) -> None:
    settings = make_task(clips, tmp_path, "autocast=auto").settings
    assert settings.uses_autocast(torch.device("cuda"))
    assert make_task(clips, tmp_path, "autocast=true").settings.uses_autocast(torch.device("cpu"))
    assert not make_task(clips, tmp_path).settings.uses_autocast(torch.device("cuda"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["folder=/nowhere"], "There is no folder /nowhere"),
        (["model=sam2.1_hiera_teeny"], "no 'sam2.1_hiera_teeny' among the models; known are"),
        (["model=sam2.1_hiera_tiny", "checkpoint=shipped"], "No weights ship with sam2.1_hiera_tiny: name a file"),
        (["checkpoint=/nowhere.pt"], "There is no checkpoint file /nowhere.pt"),
        (["freeze=[neck]"], "Nothing is called 'neck'"),
        (["stages.0.size=100"], "size 100 is not a multiple of 32"),
        (["stages.0.prompts.corrections=9"], "prompts.corrections must be 1 to 8, not 9"),
        (["stages.0.prompts.box=2"], "prompts.box is a probability"),
        (["held_out=1.5"], "held_out is a share"),
        (["autocast=bf16"], "autocast is true, false or auto, not 'bf16'"),
        (["file_type=onnx"], "file_type is safetensors, pt or pth"),
        (["file_dtype=int8"], "file_dtype is float16, bfloat16 or float32"),
        (["learning_rate=1"], "not valid"),
        (["stages.0.steps=abc"], "stages.0.steps is a whole number, not 'abc'"),
        (["stages.0.objects=0"], "stages.0.objects must be 1 or more, not 0"),
        (["stages.0.scenes.frames=0"], "stages.0.scenes.frames must be 1 or more"),
        (["stages.0.scenes.objects=[0,0]"], "stages.0.scenes.objects.0 must be 1 or more"),
        (["stages.0.scenes=3"], "not valid"),
        (["stages.0.silnt=3"], "There is no setting 'silnt' in stages.0; known are name, steps"),
        (["stages=[]"], "stages cannot be empty"),
        (["stages=[3]"], "not valid"),
        (["loss.focal=x"], "loss.focal is a number, not 'x'"),
        (["loss.alpha=2"], "loss.alpha must be 1 or less, not 2"),
        (["clip_grad=null"], "clip_grad is a number, not None"),
        (["lr=nan"], "lr must be 0 or more, not nan"),
        (["ema=2"], "ema must be 0 to 1, not 2"),
        (["seed=1.5"], "seed is a whole number, not 1.5"),
        (["folder=3"], "folder is text, not 3"),
        (["workers=true"], "workers is a whole number, not True"),
        (["freeze=image_encoder"], "freeze is a list such as [a,b], not 'image_encoder'"),
        (["output=/dev/null"], "/dev/null"),
        (["output=/dev/null/below"], "/dev/null/below"),
    ],
)
def test_bad_settings_end_the_command_with_a_sentence(
    overrides: list[str], words: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["sam-train", "finetune", *arguments_of(clips, tmp_path), *overrides])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert words in capsys.readouterr().err


def test_a_setting_that_the_file_does_not_mention_can_be_given(clips: Path, tmp_path: Path) -> None:
    more = ("stages.0.silent=1", "stages.0.prompts.teach=0.2", "stages.0.scenes.events=0.1", "scenes.degrade=0")
    stage = make_task(clips, tmp_path, *more).settings.stages[0]
    assert (stage.silent, stage.prompts.teach, stage.scenes.events, stage.scenes.degrade) == (1, 0.2, 0.1, 0.0)


def test_options_may_stand_between_settings(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["sam-train", "finetune", "--steps", "1", *arguments_of(clips, tmp_path), "lr=x"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == "lr is a number, not 'x'.\n"


def test_what_a_worker_cannot_do_ends_the_command_with_its_sentence(
    clips: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["sam-train", "finetune", *arguments_of(clips, tmp_path), "workers=2", "checkpoint=/nowhere.pt"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    errors = capfd.readouterr().err
    assert "There is no checkpoint file /nowhere.pt" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.glob("rendezvous*"))


def test_a_size_that_the_model_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="a multiple of 64 px, not 96"):
        set_image_size(build_model("edgetam_micro"), 96)
    with pytest.raises(ValueError, match="tables are for 112 px"):
        set_image_size(build_model("sam3_toy"), 128)
    model = build_model("sam2.1_micro")
    set_image_size(model, 192)
    assert (model.image_size, model.feature_size) == (192, 12)
