"""The training loop of every task: stages of steps, evaluation, checkpoints, one process or several."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sam_core.devices import resolve_device
from sam_core.training.average import make_average
from sam_core.training.curve import draw_curve
from sam_core.training.optim import make_optimizer, rate_at
from sam_core.training.run import Run, export_weights, read_state
from sam_core.training.settings import Stage
from sam_core.training.task import Task
from sam_core.training.workers import synchronise

__all__ = ["make_run", "resume", "train", "train_step"]

_log = logging.getLogger(__name__)


def make_run(task: Task[Any, Any]) -> Run:
    """Build the model, its optimisers, its moving average and its random generators for a fresh run."""
    settings = task.settings
    device = resolve_device(None if settings.device == "auto" else settings.device)
    torch.manual_seed(settings.seed)
    model = task.build_model().to(device).train()
    average = make_average(model, settings.ema)
    auxiliary = task.build_auxiliary(model)
    if auxiliary is not None:
        auxiliary.to(device)
    return Run(
        model=model,
        auxiliary=auxiliary,
        optimizers=make_optimizer(model, auxiliary, settings.optimizer, settings.lr, settings.muon_lr, settings.decay),
        average=average,
        rng=np.random.default_rng(settings.seed),
        generator=torch.Generator().manual_seed(settings.seed),
    )


def resume(run: Run, task: Task[Any, Any]) -> bool:
    """Continue from the state in the output folder, in place; returns whether there was one.

    Raises:
        ValueError: the state is of a run with other settings, or a stage does not fit the model.
    """
    stages = task.settings.stages
    state = read_state(task.settings.output, task.identity())
    task.enter_stage(run, stages[0 if state is None else min(state["stage"], len(stages) - 1)])
    if state is not None:
        run.load(state)
    return state is not None


def train_step(run: Run, task: Task[Any, Any], stage: Stage) -> dict[str, float]:
    """Do one optimiser step.

    A step whose loss or gradient is not finite changes no weight.

    Returns:
        The loss, its parts, the norm of the gradient, and the share of the time that drawing the batch took.
    """
    begin = time.perf_counter()
    batch = task.draw(run, stage)
    drawn = time.perf_counter() - begin
    rate = rate_at(stage, run.step)
    for optimizer in run.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * rate
    with torch.autocast(run.device.type, torch.bfloat16, enabled=task.settings.uses_autocast(run.device)):
        loss, parts = task.loss(run, stage, batch)
    record = {"loss": float(loss.detach()), **parts}
    if math.isfinite(record["loss"]):
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), task.settings.clip_grad)
        record["norm"] = float(norm)
        if torch.isfinite(norm):
            for optimizer in run.optimizers:
                optimizer.step()
            run.average.update_parameters(run.model)
    else:
        _log.warning("step %d of %s: the loss is not finite, the step is skipped", run.step, stage.name)
    for optimizer in run.optimizers:
        optimizer.zero_grad(set_to_none=True)
    run.step += 1
    record["data_share"] = drawn / (time.perf_counter() - begin)
    return record


def train(task: Task[Any, Any], rank: int = 0, minutes: float = math.inf, steps: float = math.inf) -> Run:
    """Train until the last stage is done, or ``minutes`` or ``steps`` are over; resumes the run in the output folder.

    Args:
        task: what to train.
        rank: number of this worker; 0 writes files. The others need an initialised process group.
        minutes: stop (and save) after so much time of this call.
        steps: stop (and save) after so many steps of this call.
    """
    settings = task.settings
    torch.set_num_threads(1 if settings.workers > 1 else settings.threads or torch.get_num_threads())
    run = make_run(task)
    if resume(run, task) and rank == 0:
        _log.info("resumed at stage %d, step %d, after %.1f minutes", run.stage, run.step, run.minutes)
    if rank > 0:
        run.rng = np.random.default_rng([settings.seed, rank, run.stage, run.step])
        run.generator.manual_seed(settings.seed + 1000 * rank + run.step)
    weights = [*run.model.parameters(), *(run.auxiliary.parameters() if run.auxiliary is not None else ())]
    begin, before = time.monotonic(), run.minutes
    if rank == 0 and settings.checkpoint is not None and not run.history and run.step == run.stage == 0:
        _record(run, task, settings.stages[0], [])  # what the weights it starts from can do
    saves, evaluations = _Interval(settings.save_minutes), _Interval(settings.evaluate_minutes)
    stop, done = False, 0
    if run.stage == len(settings.stages) and rank == 0:
        _log.info("all stages of the run in %s are done: there is nothing to do", settings.output)
    while run.stage < len(settings.stages) and not stop:
        stage = settings.stages[run.stage]
        recent: list[dict[str, float]] = []
        with tqdm(
            total=stage.steps, initial=run.step, desc=stage.name, disable=rank > 0, mininterval=10, ascii=True
        ) as bar:
            while run.step < stage.steps and not stop:
                recent.append(train_step(run, task, stage))
                passed = (time.monotonic() - begin) / 60
                run.minutes = before + passed
                bar.update()
                done += 1
                stop = passed > minutes or done >= steps
                if settings.workers > 1:  # all stop together
                    stop = run.step % settings.average_every == 0 and synchronise(weights, stop)
                if rank > 0:
                    continue
                if run.step % 20 == 0:
                    bar.set_postfix({key: f"{value:.2f}" for key, value in _means(recent[-20:]).items()})
                if evaluations.over() or run.step == stage.steps:
                    _record(run, task, stage, recent)
                    recent = []
                    evaluations.restart()  # one that takes longer than the interval must not follow on itself
                if saves.over():
                    _save(run, task)
        if run.step >= stage.steps:
            _next_stage(run, task)
        if rank == 0:
            _save(run, task)
    return run


class _Interval:
    """Tells when so many minutes have passed since it last told so."""

    def __init__(self, minutes: float) -> None:
        self._seconds = 60 * minutes
        self._last = time.monotonic()

    def over(self) -> bool:
        now = time.monotonic()
        if now - self._last <= self._seconds:
            return False
        self._last = now
        return True

    def restart(self) -> None:
        """Count from now on."""
        self._last = time.monotonic()


def _next_stage(run: Run, task: Task[Any, Any]) -> None:
    run.stage, run.step = run.stage + 1, 0
    if run.stage < len(task.settings.stages):
        task.enter_stage(run, task.settings.stages[run.stage])


def _save(run: Run, task: Task[Any, Any]) -> None:
    """Save the state, and export the averaged weights."""
    settings = task.settings
    run.save(settings.output, task.identity())
    name, dtype = task.released_file()
    metadata = {"format": "pt", "minutes": f"{run.minutes:.1f}"}
    size = export_weights(task.released_weights(run), settings.output / name, metadata, dtype)
    _log.info("saved %s: %.1f MB of weights", settings.output / name, size / 1e6)


def _record(run: Run, task: Task[Any, Any], stage: Stage, recent: Sequence[dict[str, float]]) -> None:
    """Evaluate, add a point to the history, and redraw the curve."""
    output = task.settings.output
    record: dict[str, Any] = {"minutes": run.minutes, "stage": stage.name, "step": run.step, **_means(recent)}
    figures = task.evaluate(run, stage)
    _log.info("%s, step %d: %s", stage.name, run.step, ", ".join(f"{key} {x:.3f}" for key, x in figures.items()))
    record |= {f"eval_{key}": value for key, value in figures.items()}
    run.history.append(record)
    output.mkdir(parents=True, exist_ok=True)
    with (output / "history.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    draw_curve(run.history, output / "curve.png", task.figures)


def _means(records: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average each figure over the records that have it; NaN counts as missing."""
    values: dict[str, list[float]] = {}
    for record in records:
        for key, value in record.items():
            if not math.isnan(value):
                values.setdefault(key, []).append(value)
    return {key: float(np.mean(found)) for key, found in values.items()}
