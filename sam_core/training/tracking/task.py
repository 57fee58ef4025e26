"""Tracking: a SAM 2 model on clips of several frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sam_core.build import build_model
from sam_core.checkpoints import load_checkpoint, read_state_dict
from sam_core.sam2.model import Sam2
from sam_core.training.run import Run
from sam_core.training.task import Task
from sam_core.training.tracking.batches import Batch, synthetic_batch
from sam_core.training.tracking.davis import find_videos
from sam_core.training.tracking.deepen import load_shallower
from sam_core.training.tracking.initialise import initialise
from sam_core.training.tracking.losses import LossWeights
from sam_core.training.tracking.settings import ClipStage, TrackingSettings
from sam_core.training.tracking.sources import draw_batch
from sam_core.training.tracking.unroll import AuxiliaryHeads, PromptPlan, clip_losses

__all__ = ["TrackingTask", "set_image_size"]

_EVALUATION_SEED = 1_000_003
_NO_LOSS = LossWeights()


class TrackingTask(Task[ClipStage, Batch]):
    """Train a SAM 2 model to segment what is prompted and to track it through a clip.

    Args:
        settings: the run's.

    Raises:
        ValueError: the folder of videos has another layout than DAVIS.
    """

    settings: TrackingSettings
    figures: ClassVar[Mapping[str, str]] = {
        "eval_click_iou": "IoU from a click",
        "eval_box_iou": "IoU from a box",
        "eval_box_absent": "absent frames found absent",
    }

    def __init__(self, settings: TrackingSettings) -> None:
        self.settings = settings
        self._videos = None if settings.folder is None else find_videos(settings.folder)

    def build_model(self) -> Sam2:
        """Build the model with random weights, those of a checkpoint, or those of a shallower one."""
        settings = self.settings
        model = build_model(settings.model, settings.model_overrides)
        source = settings.start_weights()
        if settings.initialise and (source is None or settings.deepen):
            initialise(model)
        if source is not None and settings.deepen:
            load_shallower(model, read_state_dict(source))
        elif source is not None:
            load_checkpoint(model, source, settings.model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith(settings.freeze))
        return model

    def build_auxiliary(self, model: Sam2) -> nn.Module | None:
        """Build the readouts of the feature grid."""
        return AuxiliaryHeads(model) if self.settings.loss.auxiliary > 0 else None

    def enter_stage(self, run: Run, stage: ClipStage) -> None:
        """Set the image size."""
        for model in (run.model, run.averaged):
            set_image_size(model, stage.size)

    def draw(self, run: Run, stage: ClipStage) -> Batch:
        """Draw clips."""
        progress = run.step / max(stage.steps, 1)
        return draw_batch(run.rng, stage, progress, self._videos, self.settings.stride).to(run.device)

    def loss(self, run: Run, stage: ClipStage, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Track the objects of the clips; the share of true masks in the memories falls to 0 over the stage."""
        plan = replace(stage.prompts, teach=stage.prompts.teach * (1 - run.step / max(stage.steps, 1)))
        heads = run.auxiliary
        assert heads is None or isinstance(heads, AuxiliaryHeads)
        result = clip_losses(run.model, batch, plan, self.settings.loss, heads, run.generator, stage.silent)
        return result.total, {**result.parts, **result.summary()}

    @torch.no_grad()
    def evaluate(self, run: Run, stage: ClipStage) -> dict[str, float]:
        """Evaluate on generated clips of fixed seeds: IoU from a click and from a box, absence."""
        scenes = replace(stage.harder or stage.scenes, size=stage.size)
        result: dict[str, float] = {}
        for name, box in (("click", 0.0), ("box", 1.0)):
            plan = PromptPlan(box=box, mask=0.0, correct=0.0, correct_later=0.0, far=0.0)
            rng = np.random.default_rng(_EVALUATION_SEED)
            found: list[dict[str, float]] = []
            for _ in range(max(1, self.settings.evaluate_clips // 4)):
                batch = synthetic_batch(rng, scenes, 4, 3).to(run.device)
                generator = torch.Generator().manual_seed(len(found))
                found.append(clip_losses(run.averaged, batch, plan, _NO_LOSS, None, generator).summary())
            result[f"{name}_iou"] = float(np.nanmean([f["mean_iou"] for f in found]))
            absent = [f["absent"] for f in found]
            result[f"{name}_absent"] = float("nan") if np.isnan(absent).all() else float(np.nanmean(absent))
        return result


def set_image_size(model: Sam2, size: int) -> None:
    """Set the image size of a model, px (a multiple of 32); no weight depends on it."""
    model.image_size = size
    model.sam_prompt_encoder.image_size = size
    model.sam_prompt_encoder.grid_size = size // 16
