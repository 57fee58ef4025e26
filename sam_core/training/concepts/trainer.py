"""The training loop of the concept detector: stages of steps, evaluation, checkpoints."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm  # type: ignore[import-untyped]

from sam_core.sam3 import build_network
from sam_core.sam3.checkpoint import load_detector_checkpoint
from sam_core.sam3.detector import ConceptDetector
from sam_core.sam3.rotary import axial_rotations
from sam_core.sam3.tokenizer import Tokenizer
from sam_core.training.concepts.batches import draw_batch
from sam_core.training.concepts.evaluate import Tally
from sam_core.training.concepts.grounding import Readouts, ground_batch, segment
from sam_core.training.concepts.initialise import initialise
from sam_core.training.concepts.losses import batch_losses, targets_of
from sam_core.training.concepts.settings import ConceptSettings, ConceptStage
from sam_core.training.curve import draw_curve
from sam_core.training.optim import make_optimizer, rate_at
from sam_core.training.state import Average, Run, export_weights, load_run, save_run

__all__ = ["evaluate", "make_run", "train", "train_step"]

_log = logging.getLogger(__name__)
_EVALUATION_SEED = 1_000_003
_FIGURES = {
    "eval_seen_f1": "F1, seen combinations",
    "eval_unseen_f1": "F1, unseen combinations",
    "eval_seen_mcc": "presence (IL_MCC)",
    "eval_seen_false_alarms": "false alarms",
}


def make_run(settings: ConceptSettings) -> Run:
    """Build the network, its optimisers and its randomness for a fresh run."""
    torch.manual_seed(settings.seed)
    network = build_network(settings.model, settings.model_overrides)
    if settings.checkpoint is not None:
        load_detector_checkpoint(network, settings.checkpoint, settings.model)
    else:
        initialise(network)
    readouts = Readouts(network.geometry_encoder.channels)
    device = torch.device(settings.device)
    network.to(device).train()
    readouts.to(device)
    return Run(
        model=network,
        auxiliary=readouts,
        optimizers=make_optimizer(network, readouts, settings.optimizer, settings.lr, settings.muon_lr, settings.decay),
        average=Average(network, settings.ema),
        rng=np.random.default_rng(settings.seed),
        generator=torch.Generator().manual_seed(settings.seed),
    )


def set_picture_size(run: Run, size: int) -> None:
    """Let a network whose weights do not depend on it work at another picture size, px: only its tables do."""
    trunk = run.model.backbone.vision_backbone.trunk
    trunk.image_size, trunk.grid = size, size * trunk.grid // trunk.image_size
    window = max(block.window for block in trunk.blocks)
    for block in trunk.blocks:
        if not block.window:
            table = block.attn.freqs_cis
            block.attn.freqs_cis = axial_rotations(2 * table.shape[1], trunk.grid, window / trunk.grid).to(table.device)
    run.average.values |= {k: v.clone() for k, v in run.model.state_dict().items() if v.is_complex()}


def resume(run: Run, settings: ConceptSettings) -> None:
    """Go on from what the output folder holds, if anything."""
    path = settings.output / "state.pt"
    stage = torch.load(path, weights_only=True, mmap=True)["stage"] if path.is_file() else 0
    set_picture_size(run, settings.stages[min(stage, len(settings.stages) - 1)].scenes.size)
    if load_run(run, settings.output):
        _log.info("resumed at stage %d, step %d, after %.1f minutes", run.stage, run.step, run.minutes)


def train_step(run: Run, settings: ConceptSettings, stage: ConceptStage, tokenizer: Tokenizer) -> dict[str, float]:
    """Do one optimiser step; returns the loss, its parts and the share of it that data took."""
    begin = time.perf_counter()
    batch = draw_batch(run.rng, stage.scenes, stage.mix, stage.pictures, stage.questions, tokenizer)
    device = next(run.model.parameters()).device
    batch = batch.to(device)
    drawn = time.perf_counter() - begin
    rate = rate_at(stage, run.step)
    for optimizer in run.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * rate
    assert run.auxiliary is None or isinstance(run.auxiliary, Readouts)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.autocast):
        losses = batch_losses(run.model, run.auxiliary, batch, stage.loss, run.generator)
    record = {"loss": float(losses.total.detach()), **losses.parts}
    if math.isfinite(record["loss"]):
        losses.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), settings.clip_grad)
        record["norm"] = float(norm)
        if torch.isfinite(norm):
            for optimizer in run.optimizers:
                optimizer.step()
            run.average.update(run.model)
    else:
        _log.warning("step %d of %s: the loss is not finite, the step is skipped", run.step, stage.name)
    for optimizer in run.optimizers:
        optimizer.zero_grad(set_to_none=True)
    run.step += 1
    record["data_share"] = drawn / (time.perf_counter() - begin)
    return record


@torch.no_grad()
def evaluate(run: Run, stage: ConceptStage, pictures: int, tokenizer: Tokenizer) -> dict[str, float]:
    """Evaluate the averaged weights on pictures of fixed seeds, at the masks' own resolution: F1 and presence."""
    network = run.model
    device = next(network.parameters()).device
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(run.average.values)
    network.eval()
    result: dict[str, float] = {}
    for name, unseen in (("seen", 0.0), ("unseen", 0.5)):
        rng = np.random.default_rng(_EVALUATION_SEED)
        tally = Tally()
        for _ in range(max(1, pictures // 8)):
            scenes = replace(stage.scenes, unseen=unseen)
            batch = draw_batch(rng, scenes, stage.mix, 8, stage.questions, tokenizer).to(device)
            grounding = ground_batch(network, batch)
            last = grounding.layers[-1]
            scores = last.logits.sigmoid() * last.found.presence.sigmoid()[:, None]
            targets = targets_of(batch, grounding.picture)
            for question in range(len(scores)):
                chosen = (scores[question] > 0.5).nonzero()[:, 0]
                one = torch.tensor([question], device=device)
                rows = torch.zeros(len(chosen), dtype=torch.long, device=device)
                size = grounding.levels[0].shape[-2:]
                masks = torch.zeros(0, *size, device=device)
                if len(chosen):
                    masks, _ = segment(network, grounding, one, rows, last.found.queries[question, chosen])
                labels = batch.labels[grounding.picture[question]].float()
                there = targets.labels[question][targets.valid[question]]
                truth = labels[None] == there[:, None, None]
                masks = torch.nn.functional.interpolate(masks[:, None], truth.shape[-2:], mode="bilinear")[:, 0]
                tally.add(masks > 0, truth)
        result |= {f"{name}_f1": tally.f1, f"{name}_mcc": tally.mcc, f"{name}_false_alarms": tally.false_alarms}
        result[f"{name}_iou"] = tally.mean_iou
    network.load_state_dict(kept)
    network.train()
    return result


def train(settings: ConceptSettings, minutes: float = math.inf) -> Run:
    """Train until the last stage is done or ``minutes`` are over; resumes what ``settings.output`` holds."""
    torch.set_num_threads(settings.threads)
    run = make_run(settings)
    tokenizer = tokenizer_of(settings)
    resume(run, settings)
    begin, before = time.monotonic(), run.minutes
    saved = evaluated = begin
    stop = False
    while run.stage < len(settings.stages) and not stop:
        stage = settings.stages[run.stage]
        set_picture_size(run, stage.scenes.size)
        recent: list[dict[str, float]] = []
        bar = tqdm(total=stage.steps, initial=run.step, desc=stage.name, mininterval=10, ascii=True)
        while run.step < stage.steps and not stop:
            recent.append(train_step(run, settings, stage, tokenizer))
            now = time.monotonic()
            run.minutes = before + (now - begin) / 60
            bar.update()
            if run.step % 20 == 0:
                bar.set_postfix({k: f"{v:.3f}" for k, v in _means(recent[-20:]).items()})
            if now - evaluated > 60 * settings.evaluate_minutes or run.step == stage.steps:
                evaluated = now
                _record(run, settings, stage, recent, tokenizer)
                recent = []
            if now - saved > 60 * settings.save_minutes:
                saved = now
                _save(run, settings)
            stop = now - begin > 60 * minutes
        bar.close()
        if run.step >= stage.steps:
            run.stage, run.step = run.stage + 1, 0
        _save(run, settings)
    return run


def tokenizer_of(settings: ConceptSettings) -> Tokenizer:
    """Return the tokenizer of the model that a run trains."""
    from sam_core.configuration import load_config

    detector = load_config("models", settings.model, settings.model_overrides).detector
    return ConceptDetector(torch.nn.Module(), settings.model, **detector).tokenizer  # type: ignore[arg-type]


def _save(run: Run, settings: ConceptSettings) -> None:
    save_run(run, settings.output)
    released = build_network(settings.model, settings.model_overrides).state_dict()
    tables = {name: table for name, table in released.items() if table.is_complex()}
    size = export_weights(
        run.average.values | tables,
        settings.output / f"{settings.model}.safetensors",
        {"format": "pt", "minutes": f"{run.minutes:.1f}"},
    )
    _log.info("saved %s: %.1f MB of float16 weights", settings.output, size / 1e6)


def _record(
    run: Run, settings: ConceptSettings, stage: ConceptStage, recent: list[dict[str, float]], tokenizer: Tokenizer
) -> None:
    """Add a point to the history, evaluated, and redraw the curve."""
    record: dict[str, Any] = {"minutes": run.minutes, "stage": stage.name, "step": run.step, **_means(recent)}
    found = evaluate(run, stage, settings.evaluate_pictures, tokenizer) if stage.questions else {}
    record |= {f"eval_{key}": value for key, value in found.items()}
    run.history.append(record)
    settings.output.mkdir(parents=True, exist_ok=True)
    with (settings.output / "history.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    draw_curve(run.history, settings.output / "curve.png", _FIGURES)


def _means(records: list[dict[str, float]]) -> dict[str, float]:
    """Average each value over the records that have it."""
    keys = {key: None for record in records for key in record}
    return {key: float(np.nanmean([r.get(key, math.nan) for r in records])) for key in keys}
