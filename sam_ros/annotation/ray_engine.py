"""Track passes on a Ray cluster; without one, on the processors of this machine.

The run's folder must be one that all machines see. A worker that dies is started again, and its pass goes on from the
state saved last.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from sam_ros.annotation.engine import Job
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.models import Models, ModelSettings, load_models
from sam_ros.annotation.passes import Pass
from sam_ros.annotation.sources import open_source
from sam_ros.annotation.store import PassStore
from sam_ros.annotation.tracking import Interrupted, Watch, track_pass

if TYPE_CHECKING:
    from sam_ros.annotation.run import Request

__all__ = ["RayEngine"]

_RESTARTS = 3  # of a worker, and of a pass on it
_POLL = 1.0  # s


class PassWorker:
    """What runs on a worker of the cluster: the models, loaded once.

    Args:
        settings: Of the models.
        with_concepts: Whether the detector is needed.
    """

    def __init__(self, settings: ModelSettings, with_concepts: bool) -> None:
        self._models = load_models(settings, with_concepts=with_concepts)

    def track(self, request: Request, work: Pass, folder: str) -> str:
        """Track a pass; return what is wrong with it, empty for nothing: an error of ours is no reason to try again."""
        try:
            source = open_source(request.recording, request.reading)
            try:
                track_pass(work, source, self._models, PassStore(Path(folder)), Watch())
            finally:
                source.close()
        except AnnotationError as error:
            return str(error)
        return ""


class RayEngine:
    """The engine of a cluster.

    Args:
        stopping: Set where the run should stop.
        workers: Most workers; 0 for as many as there are GPUs, or else processors.
        show: Whether a bar is shown.

    Raises:
        AnnotationError: Ray is not installed, or cannot start.
    """

    at_once = True

    def __init__(self, stopping: threading.Event, workers: int = 0, *, show: bool = True) -> None:
        try:
            import ray
        except ImportError as error:
            raise AnnotationError("The engine ray is not installed: pip install 'sam-ros[ray]'.") from error
        self._ray = ray
        self._stopping = stopping
        self._show = show
        self._models: Models | None = None
        try:
            if not ray.is_initialized():
                ray.init(include_dashboard=False, log_to_driver=False, logging_level="warning")
        except (RuntimeError, OSError, ConnectionError) as error:
            raise AnnotationError(f"Ray cannot start: {error}.") from error
        resources = ray.cluster_resources()
        self._gpus = int(resources.get("GPU", 0))
        self._workers = workers or self._gpus or max(1, int(resources.get("CPU", 1)))

    def is_independent(self, request: Request) -> bool:
        """Tell whether, with the request's model, an object's masks depend on no other object."""
        if self._models is None:
            self._models = load_models(request.model, with_concepts=False)
        return self._models.is_independent

    def track(self, jobs: Sequence[Job]) -> None:
        """Track the passes that are not finished, the longest first."""
        waiting = sorted((job for job in jobs if not job.store.is_finished), key=lambda job: len(job.work))
        if not waiting:
            return
        with_concepts = any(job.work.concepts for job in waiting)
        needs = {"num_gpus": 1} if self._gpus and not waiting[0].request.model.device.startswith("cpu") else {}
        remote = self._ray.remote(max_restarts=_RESTARTS, max_task_retries=_RESTARTS, num_cpus=1, **needs)(PassWorker)
        idle = [remote.remote(waiting[0].request.model, with_concepts) for _ in range(min(self._workers, len(waiting)))]
        workers = list(idle)
        running: dict[Any, Any] = {}
        total = sum(len(job.work) for job in waiting)
        try:
            with tqdm(desc="ray", total=total, unit="frame", disable=not self._show, file=sys.stderr) as bar:
                self._work_off(waiting, idle, running, bar)
        finally:
            for worker in workers:
                self._ray.kill(worker)

    def _work_off(self, waiting: list[Job], idle: list[Any], running: dict[Any, Any], bar: Any) -> None:
        problems = []
        while waiting or running:
            if self._stopping.is_set():
                raise Interrupted
            while waiting and idle:
                job, worker = waiting.pop(), idle.pop()
                answer = worker.track.remote(job.request, job.work, str(job.store.folder.resolve()))
                running[answer] = (worker, job)
            done, _ = self._ray.wait(list(running), timeout=_POLL)
            for answer in done:
                worker, job = running.pop(answer)
                idle.append(worker)
                try:
                    problem = self._ray.get(answer)
                except Exception as error:  # a worker that failed again and again, for whatever reason
                    problem = f"a worker failed {_RESTARTS + 1} times: {error}"
                if problem:
                    problems.append(f"{job.source.name}: {problem}")
                bar.update(len(job.work))
        if problems:
            raise AnnotationError(" ".join(problems))
