"""The training loop: stages of steps, evaluation, checkpoints; one process or several that average their weights."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from sam_core.build import build_model, shipped_weights
from sam_core.checkpoints import load_checkpoint, read_state_dict
from sam_core.training.batches import synthetic_batch
from sam_core.training.curve import draw_curve
from sam_core.training.davis import Video, find_videos
from sam_core.training.deepen import load_shallower
from sam_core.training.initialise import initialise
from sam_core.training.losses import LossWeights
from sam_core.training.optim import make_optimizer, rate_at
from sam_core.training.settings import Settings, Stage
from sam_core.training.sources import draw_batch
from sam_core.training.state import Average, Run, export_weights, load_run, save_run, set_image_size
from sam_core.training.unroll import AuxiliaryHeads, PromptPlan, clip_losses

__all__ = ["evaluate", "make_run", "train", "train_step"]

_log = logging.getLogger(__name__)
_EVALUATION_SEED = 1_000_003
_NO_LOSS = LossWeights()


def make_run(settings: Settings) -> Run:
    """Build the model, its optimisers and its randomness for a fresh run."""
    torch.manual_seed(settings.seed)
    model = build_model(settings.model, settings.model_overrides)
    source = shipped_weights(settings.model) if settings.checkpoint == "shipped" else settings.checkpoint
    if source is None and settings.checkpoint == "shipped":
        raise ValueError(f"no weights ship with {settings.model}")
    if settings.initialise and (source is None or settings.deepen):
        initialise(model)
    if source is not None and settings.deepen:
        load_shallower(model, read_state_dict(source))
    elif source is not None:
        load_checkpoint(model, source, settings.model)
    model.to(torch.device(settings.device)).train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(name.startswith(prefix) for prefix in settings.freeze))
    auxiliary = AuxiliaryHeads(model).to(model.device) if settings.loss.auxiliary > 0 else None
    optimizers = make_optimizer(model, auxiliary, settings.optimizer, settings.lr, settings.muon_lr, settings.decay)
    return Run(
        model=model,
        auxiliary=auxiliary,
        optimizers=optimizers,
        average=Average(model, settings.ema),
        rng=np.random.default_rng(settings.seed),
        generator=torch.Generator().manual_seed(settings.seed),
    )


def train_step(run: Run, settings: Settings, stage: Stage, videos: list[Video] | None) -> dict[str, float]:
    """Do one optimiser step; returns the loss, its parts and the share of it that data took."""
    begin = time.perf_counter()
    progress = run.step / max(stage.steps, 1)
    batch = draw_batch(run.rng, stage, progress, videos, settings.stride).to(run.model.device)
    drawn = time.perf_counter() - begin
    rate = rate_at(stage, run.step)
    for optimizer in run.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * rate
    plan = replace(stage.prompts, teach=stage.prompts.teach * (1 - progress))
    assert run.auxiliary is None or isinstance(run.auxiliary, AuxiliaryHeads)
    with torch.autocast(run.model.device.type, torch.bfloat16, enabled=settings.autocast):
        result = clip_losses(run.model, batch, plan, settings.loss, run.auxiliary, run.generator, stage.silent)
    record = {"loss": float(result.total.detach()), **result.parts, **result.summary()}
    if math.isfinite(record["loss"]):
        result.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), settings.clip_grad)
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
def evaluate(run: Run, stage: Stage, clips: int) -> dict[str, float]:
    """Evaluate the averaged weights on generated clips of fixed seeds: IoU from a click and a box, absence."""
    model = run.model
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(run.average.values)
    model.eval()
    scenes = replace(stage.harder or stage.scenes, size=stage.size)
    result: dict[str, float] = {}
    for name, box in (("click", 0.0), ("box", 1.0)):
        plan = PromptPlan(box=box, mask=0.0, correct=0.0, correct_later=0.0, far=0.0)
        rng = np.random.default_rng(_EVALUATION_SEED)
        found: list[dict[str, float]] = []
        for _ in range(max(1, clips // 4)):
            batch = synthetic_batch(rng, scenes, 4, 3).to(model.device)
            generator = torch.Generator().manual_seed(len(found))
            found.append(clip_losses(model, batch, plan, _NO_LOSS, None, generator).summary())
        result[f"{name}_iou"] = float(np.nanmean([f["mean_iou"] for f in found]))
        absent = [f["absent"] for f in found]
        result[f"{name}_absent"] = float("nan") if np.isnan(absent).all() else float(np.nanmean(absent))
    model.load_state_dict(kept)
    model.train()
    return result


def _share_weights(values: Sequence[Tensor]) -> None:
    """Replace tensors by their mean over all workers."""
    flat = torch.cat([v.detach().reshape(-1) for v in values])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    with torch.no_grad():
        for v in values:
            v.copy_(flat[start : start + v.numel()].view_as(v))
            start += v.numel()


def train(settings: Settings, rank: int = 0, minutes: float = math.inf) -> Run:
    """Train until the last stage is done or ``minutes`` are over; resumes what ``settings.output`` holds.

    Args:
        settings: the run.
        rank: number of this worker; 0 writes files. The others need an initialised process group.
        minutes: stop (and save) after so much time of this call.
    """
    torch.set_num_threads(1 if settings.workers > 1 else torch.get_num_threads())
    videos = None if settings.folder is None else find_videos(settings.folder)
    run = make_run(settings)
    resumed = load_run(run, settings.output)
    if rank == 0 and resumed:
        _log.info("resumed at stage %d, step %d, after %.1f minutes", run.stage, run.step, run.minutes)
    if rank > 0:
        run.rng = np.random.default_rng([settings.seed, rank, run.stage, run.step])
        run.generator.manual_seed(settings.seed + 1000 * rank + run.step)
    begin, before = time.monotonic(), run.minutes
    saved = evaluated = begin
    weights = [*run.model.parameters()]
    if run.auxiliary is not None:
        weights += [*run.auxiliary.parameters()]
    while run.stage < len(settings.stages):
        stage = settings.stages[run.stage]
        set_image_size(run.model, stage.size)
        recent: list[dict[str, float]] = []
        bar = tqdm(total=stage.steps, initial=run.step, desc=stage.name, disable=rank > 0, mininterval=10, ascii=True)
        stop = False
        while run.step < stage.steps and not stop:
            recent.append(train_step(run, settings, stage, videos))
            now = time.monotonic()
            run.minutes = before + (now - begin) / 60
            bar.update()
            if settings.workers > 1 and run.step % settings.average_every == 0:
                _share_weights(weights)
            if rank == 0:
                if run.step % 20 == 0:
                    bar.set_postfix(loss=f"{recent[-1]['loss']:.2f}", iou=f"{recent[-1]['mean_iou']:.2f}")
                if now - evaluated > 60 * settings.evaluate_minutes or run.step == stage.steps:
                    evaluated = now
                    _record(run, settings, stage, recent)
                    recent = []
                if now - saved > 60 * settings.save_minutes:
                    saved = now
                    save_run(run, settings.output)
            if settings.workers > 1:
                if run.step % settings.average_every == 0:
                    flag = torch.tensor(float(now - begin > 60 * minutes))
                    dist.all_reduce(flag, dist.ReduceOp.MAX)
                    stop = bool(flag)
            else:
                stop = now - begin > 60 * minutes
        bar.close()
        if not stop:
            run.stage, run.step = run.stage + 1, 0
        if rank == 0:
            save_run(run, settings.output)
            size = export_weights(
                run.average.values,
                settings.output / f"{settings.model}.safetensors",
                {"format": "pt", "minutes": f"{run.minutes:.1f}"},
            )
            _log.info("saved %s: %.1f MB of float16 weights", settings.output, size / 1e6)
        if stop:
            break
    return run


def _record(run: Run, settings: Settings, stage: Stage, recent: list[dict[str, float]]) -> None:
    """Add a point to the history, evaluated, and redraw the curve."""
    means = {k: float(np.nanmean([r[k] for r in recent])) for k in recent[0] if not _all_nan(recent, k)}
    record: dict[str, Any] = {"minutes": run.minutes, "stage": stage.name, "step": run.step, **means}
    record |= {f"eval_{k}": v for k, v in evaluate(run, stage, settings.evaluate_clips).items()}
    run.history.append(record)
    settings.output.mkdir(parents=True, exist_ok=True)
    with (settings.output / "history.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    draw_curve(run.history, settings.output / "curve.png")


def _all_nan(records: list[dict[str, float]], key: str) -> bool:
    return all(math.isnan(r[key]) for r in records)
