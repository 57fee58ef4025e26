"""A step of training: corrections as of a user, memory as in a stream, checkpointing, bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_core.checkpoints import read_state_dict
from sam_core.sam2 import Sam2
from sam_core.training.tracking.interaction import PromptPlan
from sam_core.training.trainer import make_run, train, train_step
from tests.training.fine_tuning_rig import make_task, write_checkpoint


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
    task = make_task(clips, tmp_path)
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
    task = make_task(clips, tmp_path, "stages.0.scenes.frames=5")
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
    task = make_task(clips, tmp_path, "stages.0.size=null", model="sam3_toy")
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
        task = make_task(clips, tmp_path, f"checkpointing={checkpointing}")
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
        train(make_task(clips, tmp_path, "checkpointing=true", model="edgetam_micro"))
    task = make_task(clips, tmp_path, "checkpointing=false", model="edgetam_micro")
    task.enter_stage(make_run(task), task.settings.stages[0])


def test_batch_norm_keeps_the_statistics_of_a_checkpoint(clips: Path, tmp_path: Path) -> None:
    start = write_checkpoint("edgetam_micro", tmp_path / "start.safetensors")
    run = train(make_task(clips, tmp_path / "run", f"checkpoint={start}", "stages.0.steps=1", model="edgetam_micro"))
    before = read_state_dict(start)
    names = [name for name in before if "running_" in name]
    assert names
    after = run.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in names)


def test_a_step_in_bfloat16_trains_float32_weights(clips: Path, tmp_path: Path) -> None:
    task = make_task(clips, tmp_path, "autocast=true")
    run, stage = make_run(task), task.settings.stages[0]
    task.enter_stage(run, stage)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    record = train_step(run, task, stage)
    assert np.isfinite(record["norm"])
    assert all(p.dtype == torch.float32 for p in run.model.parameters())
    assert any(not torch.equal(p, before[name]) for name, p in run.model.named_parameters())
