"""A small fine-tuning run for tests: its settings, its task, its checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sam_core.build import build_model
from sam_core.training.run import export_weights
from sam_core.training.tracking.settings import load_tracking_settings
from sam_core.training.tracking.start import published_weights
from sam_core.training.tracking.task import TrackingTask

SMALL = ("device=cpu", "autocast=false", "threads=1", "stages.0.steps=4", "stages.0.size=64", "stages.0.clips=1",
         "stages.0.scenes.frames=3", "stages.0.warmup=1", "lr=1e-3", "evaluate_clips=1")  # fmt: skip


def arguments_of(clips: Path, output: Path, *more: str, model: str = "sam2.1_micro") -> list[str]:
    return [f"folder={clips}", f"output={output}", f"model={model}", "checkpoint=null", *SMALL, *more]


def make_task(clips: Path, output: Path, *more: str, model: str = "sam2.1_micro") -> TrackingTask:
    return TrackingTask(load_tracking_settings("finetune", arguments_of(clips, output, *more, model=model)))


def write_checkpoint(model: str, path: Path) -> Path:
    """Write random weights as a published checkpoint."""
    torch.manual_seed(3)
    network = build_model(model)
    export_weights(published_weights(network, network.state_dict()), path, {"format": "pt"}, torch.float32)
    return path


def assert_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
