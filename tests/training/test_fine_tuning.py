"""Fine-tuning: from a checkpoint and a user's clips to a checkpoint that loads again, whatever is stopped or frozen."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from benchmarks.reference.peers import required
from benchmarks.reference.sam2 import MICRO_LIKE_OFFICIAL, micro_pair
from sam_core import build_tracker
from sam_core.build import build_model
from sam_core.checkpoints import read_state_dict
from sam_core.sam2 import Sam2
from sam_core.training.__main__ import main
from sam_core.training.run import Run, export_weights, read_state
from sam_core.training.tracking.freeze import freeze
from sam_core.training.tracking.interaction import PromptPlan
from sam_core.training.tracking.settings import load_tracking_settings
from sam_core.training.tracking.start import published_weights, set_image_size
from sam_core.training.tracking.task import TrackingTask
from sam_core.training.trainer import make_run, train, train_step

SMALL = ("device=cpu", "autocast=false", "threads=1", "stages.0.steps=4", "stages.0.size=64", "stages.0.clips=1",
         "stages.0.scenes.frames=3", "stages.0.warmup=1", "lr=1e-3", "evaluate_clips=1")  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in the layout of DAVIS: three videos of two squares that move."""
    root = tmp_path_factory.mktemp("davis")
    for k in range(3):
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / f"clip{k}").mkdir(parents=True)
        for t in range(5):
            mask = np.zeros((96, 128), np.uint8)
            mask[20:50, 10 + 5 * t : 45 + 5 * t] = 1
            mask[50:85, 70 - 6 * k : 110 - 6 * k] = 2
            image = np.array([[30, 40, 50], [20, 40, 220], [200, 180, 30]], np.uint8)[mask]
            cv2.imwrite(str(root / "JPEGImages" / f"clip{k}" / f"{t:05d}.jpg"), image)
            cv2.imwrite(str(root / "Annotations" / f"clip{k}" / f"{t:05d}.png"), mask)
    return root


def _overrides(clips: Path, output: Path, *more: str, model: str = "sam2.1_micro") -> list[str]:
    return [f"folder={clips}", f"output={output}", f"model={model}", "checkpoint=null", *SMALL, *more]


def _task(clips: Path, output: Path, *more: str, model: str = "sam2.1_micro") -> TrackingTask:
    return TrackingTask(load_tracking_settings("finetune", _overrides(clips, output, *more, model=model)))


def _checkpoint(model: str, path: Path) -> Path:
    """Write random weights as a published checkpoint."""
    torch.manual_seed(3)
    network = build_model(model)
    export_weights(published_weights(network, network.state_dict()), path, {"format": "pt"}, torch.float32)
    return path


@pytest.mark.parametrize("model", ["sam2.1_micro", "edgetam_micro", "sam3_toy"])
def test_the_result_loads_strictly_and_frozen_parts_are_the_same_to_the_last_bit(
    model: str, clips: Path, tmp_path: Path
) -> None:
    start = _checkpoint(model, tmp_path / "start.pt")
    size = "stages.0.size=null" if model == "sam3_toy" else "stages.0.size=64"
    run_of = [f"checkpoint={start}", "freeze=[image_encoder]", "file_type=pt", "stages.0.steps=2", size]
    train(_task(clips, tmp_path / "run", *run_of, model=model))

    result = tmp_path / "run" / f"{model}.pt"
    assert set(torch.load(result, weights_only=True)) == {"model"}
    before, after = read_state_dict(start), read_state_dict(result)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not {name for name in changed if "image_encoder" in name or "vision_backbone" in name}
    history = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in history] == [0, 2]  # the start is measured, too
    tracker = build_tracker(model, result, device="cpu", dtype="float32")
    assert tracker.checkpoint == result


def test_metas_own_code_loads_the_result(clips: Path, tmp_path: Path) -> None:
    like_official = ",".join(f"'{override}'" for override in MICRO_LIKE_OFFICIAL)
    run = train(
        _task(clips, tmp_path, f"model_overrides=[{like_official}]", "file_type=pt", "stages.0.steps=1", "ema=0.0")
    )
    official = micro_pair(optimise=False)[1]
    required("sam2.build_sam")._load_checkpoint(official, str(tmp_path / "sam2.1_micro.pt"))
    _assert_equal(official.state_dict(), run.averaged.state_dict())


def test_two_and_two_steps_are_four_steps(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    choices = ("ema=0.5", "stages.0.prompts.correct=1.0", "stages.0.prompts.correct_later=1.0", "checkpointing=true")
    whole = train(_task(clips, tmp_path / "a", *choices))
    command = ["sam-train", "finetune", *_overrides(clips, tmp_path / "b", *choices), "--steps", "2"]
    monkeypatch.setattr(sys, "argv", command)
    main()
    state = torch.load(tmp_path / "b" / "state.pt", weights_only=True)
    assert (state["stage"], state["step"]) == (0, 2)
    second = train(_task(clips, tmp_path / "b", *choices), steps=2)

    assert (second.stage, second.step) == (whole.stage, whole.step) == (1, 0)
    _assert_equal(whole.model.state_dict(), second.model.state_dict())
    _assert_equal(whole.average.state_dict(), second.average.state_dict())
    of_whole, of_second = (run.optimizers[0].state_dict()["state"] for run in (whole, second))
    for key, values in of_whole.items():
        _assert_equal(values, of_second[key])
    assert whole.rng.bit_generator.state == second.rng.bit_generator.state
    assert torch.equal(whole.generator.get_state(), second.generator.get_state())
    name = "sam2.1_micro.safetensors"
    _assert_equal(read_state_dict(tmp_path / "a" / name), read_state_dict(tmp_path / "b" / name))
    with caplog.at_level("INFO"):
        assert train(_task(clips, tmp_path / "b", *choices)).stage == 1
    assert "nothing to do" in caplog.text


def test_ctrl_c_ends_with_a_sentence_and_the_command_goes_on(clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    command = [sys.executable, "-m", "sam_core.training", "finetune", *_overrides(clips, output)]
    command += ["stages.0.steps=100000", "save_minutes=0", "evaluate_minutes=1000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if (output / "sam2.1_micro.safetensors").is_file():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.endswith(f"Stopped. The same command goes on from the last save in {output}.\n")
    assert "Traceback" not in errors
    step = torch.load(output / "state.pt", weights_only=True)["step"]
    assert step >= 1
    subprocess.run([*command, "--steps", "1"], check=True, capture_output=True, timeout=120)
    assert torch.load(output / "state.pt", weights_only=True)["step"] == step + 1


def _assert_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_a_slow_evaluation_does_not_follow_on_itself(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a clock on which a step takes two minutes and an evaluation an hour; three minutes shall lie between two."""
    minutes, evaluated = [0.0], []
    clock = SimpleNamespace(monotonic=lambda: 60 * minutes[0], perf_counter=time.perf_counter)
    monkeypatch.setattr("sam_core.training.trainer.time", clock)
    draw = TrackingTask.draw

    def slow_draw(task: TrackingTask, run: Run, stage: Any) -> Any:
        minutes[0] += 2
        return draw(task, run, stage)

    def slow_evaluate(task: TrackingTask, run: Run, stage: Any) -> dict[str, float]:
        minutes[0] += 60
        evaluated.append(run.step)
        return {}

    monkeypatch.setattr(TrackingTask, "draw", slow_draw)
    monkeypatch.setattr(TrackingTask, "evaluate", slow_evaluate)
    start = _checkpoint("sam2.1_micro", tmp_path / "start.safetensors")
    train(_task(clips, tmp_path / "run", f"checkpoint={start}", "evaluate_minutes=3"))
    assert evaluated == [0, 2, 4]


def test_another_run_in_the_output_folder_is_refused(clips: Path, tmp_path: Path) -> None:
    task = _task(clips, tmp_path)
    make_run(task).save(tmp_path, task.identity())
    with pytest.raises(ValueError, match=r"holds a run with freeze=\[\], not \['memory_encoder'\]: choose another"):
        train(_task(clips, tmp_path, "freeze=[memory_encoder]"))


@pytest.mark.parametrize("change", ["held_out=0.5", "seed=1", "held_out=0"])
def test_a_run_does_not_go_on_with_other_clips(change: str, clips: Path, tmp_path: Path) -> None:
    """They would be those that the run held out until then."""
    task = _task(clips, tmp_path)
    make_run(task).save(tmp_path, task.identity())
    other = _task(clips, tmp_path, change)
    with pytest.raises(ValueError, match=r"holds a run with clips=2 with the digest \w+, not \d with"):
        train(other)
    assert _task(clips, tmp_path).identity() == task.identity()


def test_an_evaluation_is_of_all_objects_of_clips_drawn_at_random(clips: Path, tmp_path: Path) -> None:
    root = tmp_path / "many"
    for kind in ("JPEGImages", "Annotations"):
        for k in range(20):
            (root / kind / f"clip{k:02d}").mkdir(parents=True)
            image = np.zeros((64, 64), np.uint8)
            for n in range(5):
                cv2.rectangle(image, (12 * n, 10), (12 * n + 8, 30), n + 1, -1)
            cv2.imwrite(str(root / kind / f"clip{k:02d}" / "0.png"), image)
    task = _task(clips, tmp_path / "run", f"validation={root}", "evaluate_clips=6", "stages.0.scenes.frames=1")
    assert task._held_out is not None
    names = [video.name for video in task._held_out]
    assert len(set(names)) == 6
    assert names != [f"clip{k:02d}" for k in range(6)]
    batches = list(task._evaluation_batches(task.settings.stages[0]))
    assert [len(batch.clip) for batch in batches] == [5] * 6
    again = _task(clips, tmp_path / "run", f"validation={root}", "evaluate_clips=6", "seed=5")
    assert [video.name for video in again._held_out or ()] == names


def test_small_objects_are_trained_on_and_those_left_out_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "small"
    for kind in ("JPEGImages", "Annotations"):
        (root / kind / "clip").mkdir(parents=True)
        labels = np.zeros((192, 192), np.uint8)
        labels[40:46, 40:46] = 1  # 36 px, of which generated clips take no notice
        labels[80:83, 80:83] = 2
        cv2.imwrite(str(root / kind / "clip" / "0.png"), labels)
    sizes = ("stages.0.size=192", "stages.0.scenes.frames=1")
    task = _task(root, tmp_path / "run", *sizes)
    run, stage = make_run(task), task.settings.stages[0]
    with caplog.at_level("INFO"):
        task.enter_stage(run, stage)
    assert "1 of the 2 objects on the first frame of 1 clips show fewer than 16 px at 192 px" in caplog.text
    batch = task.draw(run, stage)
    assert batch.targets.sum((1, 2, 3)).tolist() == [9]
    assert batch.visible.all()
    assert len(_task(root, tmp_path / "run", *sizes, "smallest_object=4").draw(run, stage).clip) == 2


def test_a_damaged_state_is_refused(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 not all of it")
    with pytest.raises(ValueError, match="is no state of a run"):
        read_state(tmp_path, _task(clips, tmp_path).identity())


def test_a_write_that_fails_leaves_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    export_weights({"weight": torch.ones(3)}, path, {})

    def fail(content: object, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space"):
        export_weights({"weight": torch.zeros(3)}, path, {})
    monkeypatch.undo()
    assert torch.equal(read_state_dict(path)["weight"], torch.ones(3, dtype=torch.float16))


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


def _decoded(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> list[tuple[int, bool]]:
    """Return the number of points of each call of the mask decoder, and whether a mask was given."""
    calls: list[tuple[int, bool]] = []
    decode = Sam2.decode

    def listen(self: Sam2, embedding: Tensor, features: Any, points: Any = None, *args: Any, **more: Any) -> Any:
        calls.append((0 if points is None else points.shape[1], len(args) > 1 and args[1] is not None))
        return decode(self, embedding, features, points, *args, **more)

    monkeypatch.setattr(Sam2, "decode", listen)
    work()
    return calls


def test_corrections_add_click_after_click(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = PromptPlan(box=0.0, mask=0.0, correct=1.0, correct_later=1.0, corrections=8, far=0.0)
    task = _task(clips, tmp_path)
    run, stage = make_run(task), replace(task.settings.stages[0], prompts=plan)
    task.enter_stage(run, stage)
    on_first: list[int] = []
    for _ in range(4):
        calls = _decoded(monkeypatch, lambda: train_step(run, task, stage))
        monkeypatch.undo()
        first = next(k for k, (points, mask) in enumerate(calls) if points == 0)
        assert calls[:first] == [
            (1, False),
            *((n, True) for n in range(2, first + 1)),
        ]  # a click, and one more each time
        later = [call for call in calls[first:] if call[0]]
        assert later == [(n, True) for n in range(1, len(later) + 1)]
        assert 1 <= len(later) <= 8
        on_first.append(first - 1)
    assert len(set(on_first)) > 1
    assert all(1 <= n <= 8 for n in on_first)


def test_a_corrected_frame_conditions_like_the_first(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = PromptPlan(box=1.0, mask=0.0, correct=0.0, correct_later=1.0, far=0.0)
    task = _task(clips, tmp_path, "stages.0.scenes.frames=5")
    run, stage = make_run(task), replace(task.settings.stages[0], prompts=plan)
    task.enter_stage(run, stage)
    places: list[tuple[list[int], list[float]]] = []
    assemble = Sam2.assemble_memory

    def listen(self: Sam2, spatial: Tensor, t_pos: Tensor, pointers: Tensor, distances: Tensor) -> Any:
        places.append((t_pos[0].tolist(), distances[0].tolist()))
        return assemble(self, spatial, t_pos, pointers, distances)

    monkeypatch.setattr(Sam2, "assemble_memory", listen)
    run.generator.manual_seed(next(s for s in range(99) if _later(s) == 2))
    train_step(run, task, stage)
    assert [times for times, _ in places] == [[0], [0, 6], [0, 0, 5], [0, 0, 4, 6]]
    assert [ages for _, ages in places] == [[1], [2, 1], [3, 1, 2], [4, 2, 3, 1]]


def _later(seed: int) -> int:
    """Return which of five frames a step with this seed corrects: the same draws as in `clip_losses`."""
    generator = torch.Generator().manual_seed(seed)
    torch.randint(1, 5, (), generator=generator)  # where silent frames would begin
    for _ in range(3):  # mask, box, far
        torch.rand((), generator=generator)
    torch.rand((), generator=generator)
    return int(torch.randint(1, 5, (), generator=generator))


def test_sam_3_remembers_a_mask_prompt_at_full_size(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = _task(clips, tmp_path, "stages.0.size=null", model="sam3_toy")
    run, stage = make_run(task), replace(task.settings.stages[0], prompts=PromptPlan(mask=1.0))
    task.enter_stage(run, stage)
    sides: list[int] = []
    remember = Sam2.encode_memory

    def listen(self: Sam2, features: Any, mask: Tensor, *args: Any) -> Tensor:
        sides.append(mask.shape[-1])
        return remember(self, features, mask, *args)

    monkeypatch.setattr(Sam2, "encode_memory", listen)
    train_step(run, task, stage)
    assert sides == [run.model.image_size, run.model.mask_size]


def test_checkpointing_computes_the_same_gradients_one_picture_at_a_time(clips: Path, tmp_path: Path) -> None:
    gradients, sizes = [], []
    for checkpointing in ("false", "true"):
        task = _task(clips, tmp_path, f"checkpointing={checkpointing}")
        run, stage = make_run(task), task.settings.stages[0]
        task.enter_stage(run, stage)
        seen: list[int] = []
        run.model.image_encoder.trunk.register_forward_hook(
            lambda module, inputs, output, seen=seen: seen.append(len(inputs[0]))
        )
        loss, _ = task.loss(run, stage, task.draw(run, stage))
        loss.backward()
        gradients.append({name: p.grad for name, p in run.model.named_parameters() if p.grad is not None})
        sizes.append(seen)
    assert sizes == [[3], [1] * 6]  # three frames at once; each alone, and once more for the gradient
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-3, msg=name)


def test_checkpointing_is_refused_where_batch_norm_counts(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="set checkpointing=false, or start from a checkpoint"):
        train(_task(clips, tmp_path, "checkpointing=true", model="edgetam_micro"))
    task = _task(clips, tmp_path, "checkpointing=false", model="edgetam_micro")
    task.enter_stage(make_run(task), task.settings.stages[0])


def test_batch_norm_keeps_the_statistics_of_a_checkpoint(clips: Path, tmp_path: Path) -> None:
    start = _checkpoint("edgetam_micro", tmp_path / "start.safetensors")
    run = train(_task(clips, tmp_path / "run", f"checkpoint={start}", "stages.0.steps=1", model="edgetam_micro"))
    before = read_state_dict(start)
    names = [name for name in before if "running_" in name]
    assert names
    after = run.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in names)


def test_the_losses_have_the_weights_of_metas_fine_tuning(clips: Path, tmp_path: Path) -> None:
    path = Path(required("sam2").__file__).parent / "configs/sam2.1_training/sam2.1_hiera_b+_MOSE_finetune.yaml"
    theirs = OmegaConf.load(path).trainer.loss.all
    loss = _task(clips, tmp_path).settings.loss
    assert (loss.focal, loss.dice, loss.iou, loss.score) == tuple(
        theirs.weight_dict[name] for name in ("loss_mask", "loss_dice", "loss_iou", "loss_class")
    )
    assert theirs.iou_use_l1_loss
    assert (loss.alpha, loss.gamma) == (0.25, 2.0)  # defaults of training/loss_fns.py
    assert (loss.absent, loss.auxiliary, loss.size) == (1.0, 0.0, 0.0)


def test_autocast_is_left_to_the_device(clips: Path, tmp_path: Path) -> None:
    settings = _task(clips, tmp_path, "autocast=auto").settings
    assert settings.uses_autocast(torch.device("cuda"))
    assert _task(clips, tmp_path, "autocast=true").settings.uses_autocast(torch.device("cpu"))
    assert not _task(clips, tmp_path).settings.uses_autocast(torch.device("cuda"))


def test_a_step_in_bfloat16_trains_float32_weights(clips: Path, tmp_path: Path) -> None:
    task = _task(clips, tmp_path, "autocast=true")
    run, stage = make_run(task), task.settings.stages[0]
    task.enter_stage(run, stage)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    record = train_step(run, task, stage)
    assert np.isfinite(record["norm"])
    assert all(p.dtype == torch.float32 for p in run.model.parameters())
    assert any(not torch.equal(p, before[name]) for name, p in run.model.named_parameters())


def test_clips_are_held_out(clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        _task(clips, tmp_path)
        _task(clips, tmp_path, f"validation={clips}")
        _task(clips, tmp_path, "held_out=0")
    assert [r.getMessage() for r in caplog.records if "clips to train" in r.getMessage()] == [
        "2 clips to train on, 1 to evaluate on, drawn from 1",
        "3 clips to train on, 1 to evaluate on, drawn from 3",
        "3 clips to train on, 1 to evaluate on, drawn from 3",
    ]
    assert "nothing is held out" in caplog.text


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
    monkeypatch.setattr(sys, "argv", ["sam-train", "finetune", *_overrides(clips, tmp_path), *overrides])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert words in capsys.readouterr().err


def test_a_setting_that_the_file_does_not_mention_can_be_given(clips: Path, tmp_path: Path) -> None:
    more = ("stages.0.silent=1", "stages.0.prompts.teach=0.2", "stages.0.scenes.events=0.1", "scenes.degrade=0")
    stage = _task(clips, tmp_path, *more).settings.stages[0]
    assert (stage.silent, stage.prompts.teach, stage.scenes.events, stage.scenes.degrade) == (1, 0.2, 0.1, 0.0)


def test_options_may_stand_between_settings(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["sam-train", "finetune", "--steps", "1", *_overrides(clips, tmp_path), "lr=x"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == "lr is a number, not 'x'.\n"


def test_what_a_worker_cannot_do_ends_the_command_with_its_sentence(
    clips: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["sam-train", "finetune", *_overrides(clips, tmp_path), "workers=2", "checkpoint=/nowhere.pt"]
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
