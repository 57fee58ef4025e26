"""Detection of concepts: a SAM 3 detector on pictures with several questions each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.configuration import load_config
from sam_core.sam3 import ConceptNetwork, build_network
from sam_core.sam3.checkpoint import load_detector_checkpoint
from sam_core.sam3.rotary import axial_rotations
from sam_core.sam3.tokenizer import CLIP_VOCABULARY_SIZE, Tokenizer
from sam_core.training.concepts.batches import ConceptBatch, draw_batch
from sam_core.training.concepts.evaluate import Tally
from sam_core.training.concepts.grounding import Readouts, ground_batch, segment
from sam_core.training.concepts.initialise import initialise
from sam_core.training.concepts.losses import batch_losses, targets_of
from sam_core.training.concepts.settings import ConceptSettings, ConceptStage
from sam_core.training.run import Run
from sam_core.training.task import Task

__all__ = ["ConceptTask", "set_picture_size"]

_EVALUATION_SEED = 1_000_003
_THRESHOLD = 0.5


class ConceptTask(Task[ConceptStage, ConceptBatch]):
    """Train a detector to find every instance that a phrase or an exemplar box names.

    Args:
        settings: the run's.
    """

    settings: ConceptSettings
    figures: ClassVar[Mapping[str, str]] = {
        "eval_seen_f1": "F1, seen combinations",
        "eval_unseen_f1": "F1, unseen combinations",
        "eval_seen_mcc": "presence (IL_MCC)",
        "eval_seen_false_alarms": "false alarms",
    }

    def __init__(self, settings: ConceptSettings) -> None:
        self.settings = settings
        detector = load_config("models", settings.model, settings.model_overrides).detector
        size = detector.get("vocabulary_size", CLIP_VOCABULARY_SIZE)
        self.tokenizer = Tokenizer(detector.context_length, size)

    def build_model(self) -> ConceptNetwork:
        """Build the network with random weights or those of a checkpoint."""
        settings = self.settings
        network = build_network(settings.model, settings.model_overrides)
        source = settings.start_weights()
        if source is None:
            initialise(network)
        else:
            load_detector_checkpoint(network, source, settings.model)
        return network

    def build_auxiliary(self, model: ConceptNetwork) -> Readouts:
        """Build the readouts of colour, shape, texture and size."""
        return Readouts(model.geometry_encoder.channels)

    def enter_stage(self, run: Run, stage: ConceptStage) -> None:
        """Set the picture size."""
        for network in (run.model, run.averaged):
            set_picture_size(network, stage.scenes.size)

    def draw(self, run: Run, stage: ConceptStage) -> ConceptBatch:
        """Draw pictures and questions."""
        pictures, questions = stage.pictures, stage.questions
        return draw_batch(run.rng, stage.scenes, stage.mix, pictures, questions, self.tokenizer).to(run.device)

    def loss(self, run: Run, stage: ConceptStage, batch: ConceptBatch) -> tuple[Tensor, dict[str, float]]:
        """Answer the questions and compare with the truth."""
        assert run.auxiliary is None or isinstance(run.auxiliary, Readouts)
        losses = batch_losses(run.model, run.auxiliary, batch, stage.loss, run.generator)
        return losses.total, losses.parts

    @torch.no_grad()
    def evaluate(self, run: Run, stage: ConceptStage) -> dict[str, float]:
        """Evaluate on pictures of fixed seeds, with seen and with unseen combinations: F1, presence, false alarms."""
        if not stage.questions:
            return {}
        result: dict[str, float] = {}
        for name, unseen in (("seen", 0.0), ("unseen", 0.5)):
            rng = np.random.default_rng(_EVALUATION_SEED)
            scenes = replace(stage.scenes, unseen=unseen)
            tally = Tally()
            for _ in range(max(1, self.settings.evaluate_pictures // 8)):
                batch = draw_batch(rng, scenes, stage.mix, 8, stage.questions, self.tokenizer).to(run.device)
                _count(run.averaged, batch, tally)
            result |= {f"{name}_f1": tally.f1, f"{name}_mcc": tally.mcc, f"{name}_false_alarms": tally.false_alarms}
            result[f"{name}_iou"] = tally.mean_iou
        return result

    def released_weights(self, run: Run) -> dict[str, Tensor]:
        """Return the averaged weights, with the rotary tables of the model's own picture size."""
        released = build_network(self.settings.model, self.settings.model_overrides).state_dict()
        tables = {name: table for name, table in released.items() if table.is_complex()}
        return run.averaged.state_dict() | tables


def _count(network: Any, batch: ConceptBatch, tally: Tally) -> None:
    """Answer the questions of a batch, masks at the size of the truth, and count."""
    grounding = ground_batch(network, batch)
    last = grounding.layers[-1]
    scores = last.logits.sigmoid() * last.found.presence.sigmoid()[:, None]
    targets = targets_of(batch, grounding.picture)
    for question in range(len(scores)):
        chosen = (scores[question] > _THRESHOLD).nonzero()[:, 0]
        masks = torch.zeros(0, *grounding.levels[0].shape[-2:], device=scores.device)
        if len(chosen):
            one = torch.tensor([question], device=scores.device)
            rows = torch.zeros(len(chosen), dtype=torch.long, device=scores.device)
            masks, _ = segment(network, grounding, one, rows, last.found.queries[question, chosen])
        there = targets.labels[question][targets.valid[question]]
        truth = batch.labels[grounding.picture[question]].float()[None] == there[:, None, None]
        masks = F.interpolate(masks[:, None], truth.shape[-2:], mode="bilinear")[:, 0]
        tally.add(masks > 0, truth)


def set_picture_size(network: ConceptNetwork, size: int) -> None:
    """Set the picture size of a network, px; only its rotary tables depend on it."""
    trunk: Any = network.backbone.vision_backbone.trunk
    trunk.image_size, trunk.grid = size, size * trunk.grid // trunk.image_size
    window = max(block.window for block in trunk.blocks)
    for block in trunk.blocks:
        if not block.window:
            table = block.attn.freqs_cis
            block.attn.freqs_cis = axial_rotations(2 * table.shape[1], trunk.grid, window / trunk.grid).to(table.device)
