"""Track passes on a Ray cluster; without one, on the processors of this machine.

The run's folder must be one that all machines see. A worker that dies is started again, and its pass goes on from the
state saved last.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from sam_ros.annotation.engine import Job
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.models import NewestModels
from sam_ros.annotation.passes import Pass
from sam_ros.annotation.sources import open_source
from sam_ros.annotation.store import PassStore
from sam_ros.annotation.tracking import Interrupted, Watch, track_pass

if TYPE_CHECKING:
    from sam_ros.annotation.run import Request

__all__ = ["RayEngine"]

_RESTARTS = 3  # of a worker, and of a pass on it
_POLL = 1.0  # s
_CALLS = 2  # at once on a worker: a pass, and `stop`
_SAVING = 30.0  # s that workers have to save what they are at


class PassWorker:
    """What runs on a worker of the cluster. Passes of the same settings share the models."""

    def __init__(self) -> None:
        self._models = NewestModels()
        self._stopping = threading.Event()

    def track(self, request: Request, work: Pass, folder: str) -> str:
        """Track a pass; return what is wrong with it, empty for nothing: an error of ours is no reason to try again."""
        try:
            models = self._models.get(request.model, with_concepts=bool(work.concepts))
            source = open_source(request.recording, request.reading)
            try:
                track_pass(work, source, models, PassStore(Path(folder)), Watch(stopping=self._stopping.is_set))
            finally:
                source.close()
        except AnnotationError as error:
            return str(error)
        except Interrupted:
            return "It was asked to stop."
        return ""

    def stop(self) -> None:
        """Let the pass end early; what was done is saved."""
        self._stopping.set()


class RayEngine:
    """The engine of a cluster.

    Args:
        stopping: Set where the run should stop.
        workers: Most workers; 0 for as many as there are GPUs, or else processors. There are never more.
        show: Whether a bar is shown.

    Raises:
        AnnotationError: Ray is not installed, or cannot start.
    """

    at_once = True

    def __init__(self, stopping: threading.Event, workers: int = 0, *, show: bool = True) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at import: nothing is sent to anybody
        try:
            import ray
        except ImportError as error:
            raise AnnotationError("The engine ray is not installed: pip install 'sam-ros[ray]'.") from error
        self._ray = ray
        self._stopping = stopping
        self._show = show
        self._models = NewestModels()
        try:
            if not ray.is_initialized():
                ray.init(include_dashboard=False, log_to_driver=False, logging_level="warning")
        except (RuntimeError, OSError, ConnectionError) as error:
            raise AnnotationError(f"Ray cannot start: {error}.") from error
        resources = ray.cluster_resources()
        self._gpus = int(resources.get("GPU", 0))
        room = self._gpus or max(1, int(resources.get("CPU", 1)))
        self._workers = min(workers or room, room)  # one beyond that would wait for ever, and its pass with it

    def is_independent(self, request: Request) -> bool:
        """Tell whether, with the request's model, an object's masks depend on no other object."""
        return self._models.get(request.model, with_concepts=False).is_independent

    def track(self, jobs: Sequence[Job]) -> Mapping[Path, str]:
        """Track the passes that are not finished, the longest first; see `Engine`."""
        waiting = sorted((job for job in jobs if not job.store.is_finished), key=lambda job: len(job.work))
        if not waiting:
            return {}
        on_gpu = self._gpus and not all(job.request.model.device.startswith("cpu") for job in waiting)
        needs = {"num_gpus": 1} if on_gpu else {}
        remote = self._ray.remote(
            max_restarts=_RESTARTS, max_task_retries=_RESTARTS, max_concurrency=_CALLS, num_cpus=1, **needs
        )(PassWorker)
        workers = [remote.remote() for _ in range(min(self._workers, len(waiting)))]
        total = sum(len(job.work) for job in waiting)
        try:
            with tqdm(desc="ray", total=total, unit="frame", disable=not self._show, file=sys.stderr) as bar:
                return self._work_off(waiting, workers, bar)
        finally:
            for worker in workers:
                self._ray.kill(worker)

    def _work_off(self, waiting: list[Job], workers: Sequence[Any], bar: Any) -> Mapping[Path, str]:
        problems: dict[Path, list[str]] = defaultdict(list)
        running: dict[Any, tuple[Any, Job]] = {}
        idle = list(workers)
        while waiting or running:
            if self._stopping.is_set():
                for worker, _ in running.values():
                    worker.stop.remote()
                if running:
                    self._ray.wait(list(running), num_returns=len(running), timeout=_SAVING)
                raise Interrupted
            while waiting and idle:
                job, worker = waiting.pop(), idle.pop()
                request = replace(job.request, recording=job.request.recording.resolve())
                answer = worker.track.remote(request, job.work, str(job.store.folder.resolve()))
                running[answer] = (worker, job)
            done, _ = self._ray.wait(list(running), timeout=_POLL)
            for answer in done:
                worker, job = running.pop(answer)
                idle.append(worker)
                try:
                    problem = self._ray.get(answer)
                except Exception as error:  # a worker that failed again and again, for whatever reason
                    problem = f"A worker failed {_RESTARTS + 1} times: {error}"
                if problem:
                    problems[job.request.folder].append(problem)
                bar.update(len(job.work))
        return {folder: " ".join(dict.fromkeys(texts)) for folder, texts in problems.items()}
