"""Fine-tuning: from a checkpoint and a user's clips to a checkpoint that loads again, whatever is stopped or frozen."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from benchmarks.reference.peers import required
from benchmarks.reference.sam2 import MICRO_LIKE_OFFICIAL, micro_pair
from sam_core import build_tracker
from sam_core.checkpoints import read_state_dict
from sam_core.training.__main__ import main
from sam_core.training.run import Run, export_weights, read_state
from sam_core.training.tracking.task import TrackingTask
from sam_core.training.trainer import make_run, train
from tests.training.fine_tuning_rig import arguments_of, assert_equal, make_task, write_checkpoint


@pytest.mark.parametrize("model", ["sam2.1_micro", "edgetam_micro", "sam3_toy"])
def test_the_result_loads_strictly_and_frozen_parts_are_the_same_to_the_last_bit(
    model: str, clips: Path, tmp_path: Path
) -> None:
    start = write_checkpoint(model, tmp_path / "start.pt")
    size = "stages.0.size=null" if model == "sam3_toy" else "stages.0.size=64"
    run_of = [f"checkpoint={start}", "freeze=[image_encoder]", "file_type=pt", "stages.0.steps=2", size]
    train(make_task(clips, tmp_path / "run", *run_of, model=model))

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
        make_task(clips, tmp_path, f"model_overrides=[{like_official}]", "file_type=pt", "stages.0.steps=1", "ema=0.0")
    )
    official = micro_pair(optimise=False)[1]
    required("sam2.build_sam")._load_checkpoint(official, str(tmp_path / "sam2.1_micro.pt"))
    assert_equal(official.state_dict(), run.averaged.state_dict())


def test_two_and_two_steps_are_four_steps(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    choices = ("ema=0.5", "stages.0.prompts.correct=1.0", "stages.0.prompts.correct_later=1.0", "checkpointing=true")
    whole = train(make_task(clips, tmp_path / "a", *choices))
    command = ["sam-train", "finetune", *arguments_of(clips, tmp_path / "b", *choices), "--steps", "2"]
    monkeypatch.setattr(sys, "argv", command)
    main()
    state = torch.load(tmp_path / "b" / "state.pt", weights_only=True)
    assert (state["stage"], state["step"]) == (0, 2)
    second = train(make_task(clips, tmp_path / "b", *choices), steps=2)

    assert (second.stage, second.step) == (whole.stage, whole.step) == (1, 0)
    assert_equal(whole.model.state_dict(), second.model.state_dict())
    assert_equal(whole.average.state_dict(), second.average.state_dict())
    of_whole, of_second = (run.optimizers[0].state_dict()["state"] for run in (whole, second))
    for key, values in of_whole.items():
        assert_equal(values, of_second[key])
    assert whole.rng.bit_generator.state == second.rng.bit_generator.state
    assert torch.equal(whole.generator.get_state(), second.generator.get_state())
    name = "sam2.1_micro.safetensors"
    assert_equal(read_state_dict(tmp_path / "a" / name), read_state_dict(tmp_path / "b" / name))
    with caplog.at_level("INFO"):
        assert train(make_task(clips, tmp_path / "b", *choices)).stage == 1
    assert "nothing to do" in caplog.text


def test_ctrl_c_ends_with_a_sentence_and_the_command_goes_on(clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    command = [sys.executable, "-m", "sam_core.training", "finetune", *arguments_of(clips, output)]
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
    start = write_checkpoint("sam2.1_micro", tmp_path / "start.safetensors")
    train(make_task(clips, tmp_path / "run", f"checkpoint={start}", "evaluate_minutes=3"))
    assert evaluated == [0, 2, 4]


def test_another_run_in_the_output_folder_is_refused(clips: Path, tmp_path: Path) -> None:
    task = make_task(clips, tmp_path)
    make_run(task).save(tmp_path, task.identity())
    with pytest.raises(ValueError, match=r"holds a run with freeze=\[\], not \['memory_encoder'\]: choose another"):
        train(make_task(clips, tmp_path, "freeze=[memory_encoder]"))


@pytest.mark.parametrize("change", ["held_out=0.5", "seed=1", "held_out=0"])
def test_a_run_does_not_go_on_with_other_clips(change: str, clips: Path, tmp_path: Path) -> None:
    """They would be those that the run held out until then."""
    task = make_task(clips, tmp_path)
    make_run(task).save(tmp_path, task.identity())
    other = make_task(clips, tmp_path, change)
    with pytest.raises(ValueError, match=r"holds a run with clips=2 with the digest \w+, not \d with"):
        train(other)
    assert make_task(clips, tmp_path).identity() == task.identity()


def test_an_evaluation_is_of_all_objects_of_clips_drawn_at_random(clips: Path, tmp_path: Path) -> None:
    root = tmp_path / "many"
    for kind in ("JPEGImages", "Annotations"):
        for k in range(20):
            (root / kind / f"clip{k:02d}").mkdir(parents=True)
            image = np.zeros((64, 64), np.uint8)
            for n in range(5):
                cv2.rectangle(image, (12 * n, 10), (12 * n + 8, 30), n + 1, -1)
            cv2.imwrite(str(root / kind / f"clip{k:02d}" / "0.png"), image)
    task = make_task(clips, tmp_path / "run", f"validation={root}", "evaluate_clips=6", "stages.0.scenes.frames=1")
    assert task._held_out is not None
    names = [video.name for video in task._held_out]
    assert len(set(names)) == 6
    assert names != [f"clip{k:02d}" for k in range(6)]
    batches = list(task._evaluation_batches(task.settings.stages[0]))
    assert [len(batch.clip) for batch in batches] == [5] * 6
    again = make_task(clips, tmp_path / "run", f"validation={root}", "evaluate_clips=6", "seed=5")
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
    task = make_task(root, tmp_path / "run", *sizes)
    run, stage = make_run(task), task.settings.stages[0]
    with caplog.at_level("INFO"):
        task.enter_stage(run, stage)
    assert "1 of the 2 objects on the first frame of 1 clips show fewer than 16 px at 192 px" in caplog.text
    batch = task.draw(run, stage)
    assert batch.targets.sum((1, 2, 3)).tolist() == [9]
    assert batch.visible.all()
    assert len(make_task(root, tmp_path / "run", *sizes, "smallest_object=4").draw(run, stage).clip) == 2


def test_a_damaged_state_is_refused(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 not all of it")
    with pytest.raises(ValueError, match="is no state of a run"):
        read_state(tmp_path, make_task(clips, tmp_path).identity())


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


def test_clips_are_held_out(clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        make_task(clips, tmp_path)
        make_task(clips, tmp_path, f"validation={clips}")
        make_task(clips, tmp_path, "held_out=0")
    assert [r.getMessage() for r in caplog.records if "clips to train" in r.getMessage()] == [
        "2 clips to train on, 1 to evaluate on, drawn from 1",
        "3 clips to train on, 1 to evaluate on, drawn from 3",
        "3 clips to train on, 1 to evaluate on, drawn from 3",
    ]
    assert "nothing is held out" in caplog.text
