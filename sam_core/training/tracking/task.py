"""Tracking: a SAM 2 model on clips of several frames, or any promptable model on still images."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sam_core.sam2.model import Sam2
from sam_core.training.run import Run
from sam_core.training.task import Task
from sam_core.training.tracking.answers import ClipLoss
from sam_core.training.tracking.auxiliary import AuxiliaryHeads
from sam_core.training.tracking.batches import Batch, NoObjectError, SmallestAreas, collate, synthetic_batch
from sam_core.training.tracking.folder import ClipSource, draw_some, find_clips, hold_out
from sam_core.training.tracking.freeze import freeze_norm_statistics, refuse_live_norm_statistics
from sam_core.training.tracking.interaction import PromptPlan
from sam_core.training.tracking.losses import LossWeights
from sam_core.training.tracking.settings import ClipStage, TrackingSettings
from sam_core.training.tracking.sources import count_objects, draw_batch
from sam_core.training.tracking.start import Trainee, published_weights, set_image_size, start_model
from sam_core.training.tracking.stills import still_losses
from sam_core.training.tracking.unroll import clip_losses

__all__ = ["TrackingTask"]

_log = logging.getLogger(__name__)

_EVALUATION_SEED = 1_000_003
_ANY_WEIGHTS = LossWeights()  # the evaluation looks at the answers, not at their loss
_TOGETHER, _OBJECTS = 4, 3  # generated clips of a batch of the evaluation, and objects of each
_LOOKED_AT = 32  # clips of a user's folder whose objects are counted before a stage
_MOST_OBJECTS = 16  # of one of the user's clips that is evaluated on; bounds the memory


class TrackingTask(Task[ClipStage, Batch]):
    """Train a model to segment what is prompted and, but for SAM 1, to track it through a clip.

    Args:
        settings: the run's.

    Raises:
        ValueError: a folder of the user's data has another layout than DAVIS or COCO, or is damaged.
    """

    settings: TrackingSettings
    figures: ClassVar[Mapping[str, str]] = {
        "eval_click_iou": "IoU from a click",
        "eval_box_iou": "IoU from a box",
        "eval_box_absent": "absent frames found absent",
    }

    def __init__(self, settings: TrackingSettings) -> None:
        self.settings = settings
        self._clips: Sequence[ClipSource] | None = None
        self._held_out: Sequence[ClipSource] | None = None
        if settings.folder is not None:
            self._clips = find_clips(settings.folder, settings.split)
            if settings.validation is not None:
                self._held_out = find_clips(settings.validation, settings.validation_split)
            else:
                self._clips, self._held_out = hold_out(self._clips, settings.held_out, settings.seed)
            if not self._held_out:
                _log.warning("nothing is held out: figures of the evaluation are those of clips that are trained on")
                self._held_out = self._clips
            others = len(self._held_out)
            self._held_out = draw_some(self._held_out, settings.evaluate_clips, _EVALUATION_SEED)
            _log.info(
                "%d clips to train on, %d to evaluate on, drawn from %d",
                len(self._clips),
                len(self._held_out),
                others,
            )

    def build_model(self) -> Trainee:
        """Build the model that the run starts from."""
        return start_model(self.settings)

    def build_auxiliary(self, model: Trainee) -> nn.Module | None:
        """Build the readouts of the feature grid.

        Raises:
            ValueError: the model is SAM 1.
        """
        if self.settings.loss.auxiliary == 0:
            return None
        if not isinstance(model, Sam2):
            raise ValueError("SAM 1 is trained without readouts for deep supervision: set loss.auxiliary=0.")
        return AuxiliaryHeads(model)

    def enter_stage(self, run: Run, stage: ClipStage) -> None:
        """Set the image size; batch normalisation keeps the statistics of a checkpoint.

        Raises:
            ValueError: the model cannot work at that size, or not with activations that are computed twice.
        """
        for model in (run.model, run.averaged):
            set_image_size(model, stage.size)
        if self.settings.checkpoint is not None:
            freeze_norm_statistics(run.model)
        if self.settings.checkpointing:
            refuse_live_norm_statistics(run.model)
        if self._clips is not None:
            self._tell_what_is_left_out(stage)

    def _tell_what_is_left_out(self, stage: ClipStage) -> None:
        assert self._clips is not None
        smallest = self.settings.smallest_object
        looked_at = draw_some(self._clips, _LOOKED_AT, _EVALUATION_SEED)
        found, small = count_objects(looked_at, stage.picture, smallest)
        if small:
            _log.info(
                "%d of the %d objects on the first frame of %d clips show fewer than %g px at %d px and are left out: "
                "see smallest_object and size",
                small, found, len(looked_at), smallest, stage.size,
            )  # fmt: skip

    def draw(self, run: Run, stage: ClipStage) -> Batch:
        """Draw clips."""
        progress = run.step / max(stage.steps, 1)
        settings = self.settings
        return draw_batch(run.rng, stage, progress, self._clips, settings.stride, settings.smallest_object).to(
            run.device
        )

    def loss(self, run: Run, stage: ClipStage, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Track the objects of the clips; the share of true masks in the memories falls to 0 over the stage."""
        plan = replace(stage.prompts, teach=stage.prompts.teach * (1 - run.step / max(stage.steps, 1)))
        heads = run.auxiliary
        assert heads is None or isinstance(heads, AuxiliaryHeads)
        result = _losses(
            run.model, batch, plan, self.settings.loss, heads, run.generator, stage.silent, self.settings.checkpointing
        )
        return result.total, {**result.parts, **result.summary()}

    @torch.no_grad()
    def evaluate(self, run: Run, stage: ClipStage) -> dict[str, float]:
        """Evaluate on held-out or generated clips of fixed seeds: IoU from a click and from a box, absence."""
        result: dict[str, float] = {}
        for name, box in (("click", 0.0), ("box", 1.0)):
            plan = PromptPlan(box=box, mask=0.0, correct=0.0, correct_later=0.0, far=0.0)
            found: list[dict[str, float]] = []
            for batch in self._evaluation_batches(stage):
                generator = torch.Generator().manual_seed(len(found))
                found.append(_losses(run.averaged, batch.to(run.device), plan, _ANY_WEIGHTS, None, generator).summary())
            for key, figure in (("iou", "mean_iou"), ("absent", "absent")):
                known = [f[figure] for f in found if not np.isnan(f[figure])]
                result[f"{name}_{key}"] = float(np.mean(known)) if known else float("nan")
        return result

    def _evaluation_batches(self, stage: ClipStage) -> Iterator[Batch]:
        """Draw the same batches each time; a batch of a user's folder is one clip."""
        scenes = replace(stage.harder or stage.scenes, size=stage.size)
        rng = np.random.default_rng(_EVALUATION_SEED)
        if self._held_out is None:
            for _ in range(max(1, self.settings.evaluate_clips // _TOGETHER)):
                yield synthetic_batch(rng, scenes, _TOGETHER, _OBJECTS)
            return
        smallest = SmallestAreas.of_annotated(self.settings.smallest_object)
        for source in self._held_out:
            clip = source.clip(rng, stage.picture, scenes.frames, self.settings.stride)
            try:
                yield collate([clip], _MOST_OBJECTS, rng, smallest)
            except NoObjectError:
                continue

    def identity(self) -> dict[str, Any]:
        """Return the settings without which the state of a run has no meaning."""
        names = ("checkpoint", "freeze", "folder", "split")
        identity = {**super().identity(), **{name: getattr(self.settings, name) for name in names}}
        if self._clips is not None:  # which clips are held out depends on more settings, and on the folder's contents
            called = "\n".join(sorted(clip.name for clip in self._clips))
            identity["clips"] = f"{len(self._clips)} with the digest {hashlib.sha256(called.encode()).hexdigest()[:12]}"
        return identity

    def released_weights(self, run: Run) -> dict[str, Tensor]:
        """Return the averaged weights under the names of the model's published checkpoint."""
        return published_weights(run.averaged, run.averaged.state_dict())

    def released_file(self) -> tuple[str, torch.dtype]:
        """Return the name of the exported file, and the weights' dtype in it."""
        settings = self.settings
        return f"{settings.model}.{settings.file_type}", getattr(torch, settings.file_dtype)


def _losses(
    model: Trainee,
    batch: Batch,
    plan: PromptPlan,
    weights: LossWeights,
    auxiliary: AuxiliaryHeads | None,
    generator: torch.Generator | None,
    silent: int = 0,
    checkpointing: bool = False,
) -> ClipLoss:
    """Return the loss of clips, or of still images where they have one frame."""
    if batch.images.shape[1] == 1:
        return still_losses(model, batch, plan, weights, auxiliary, generator, checkpointing)
    assert isinstance(model, Sam2)
    return clip_losses(model, batch, plan, weights, auxiliary, generator, silent, checkpointing)
