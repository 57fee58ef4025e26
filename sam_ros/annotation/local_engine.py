"""Track passes in this process, one after the other, with a bar that shows how far it is."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from sam_ros.annotation.engine import Job
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.models import NewestModels
from sam_ros.annotation.records import FrameRecord
from sam_ros.annotation.tracking import Watch, track_pass

if TYPE_CHECKING:
    from sam_ros.annotation.run import Request

__all__ = ["LocalEngine", "stop_on_signals"]


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Set an event at Ctrl-C and at SIGTERM instead of ending at once; a second one ends at once."""
    stopping = threading.Event()

    def stop(number: int, _: Any) -> None:
        stopping.set()
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class LocalEngine:
    """The engine of one machine. Recordings of the same settings share the models.

    Args:
        stopping: Set where the run should stop and save.
        show: Whether bars are shown.
    """

    at_once = False

    def __init__(self, stopping: threading.Event, *, show: bool = True) -> None:
        self._stopping = stopping
        self._show = show
        self._models = NewestModels()

    def is_independent(self, request: Request) -> bool:
        """Tell whether, with the request's model, an object's masks depend on no other object."""
        return self._models.get(request.model, with_concepts=False).is_independent

    def track(self, jobs: Sequence[Job]) -> Mapping[Path, str]:
        """Track the passes that are not finished; see `Engine`."""
        problems: dict[Path, str] = {}
        for number, job in enumerate(jobs, 1):
            if job.request.folder in problems or job.store.is_finished:
                continue
            try:
                self._track(job, f"({number}/{len(jobs)})")
            except AnnotationError as error:
                problems[job.request.folder] = str(error)
        return problems

    def _track(self, job: Job, place: str) -> None:
        work = job.work
        models = self._models.get(job.request.model, with_concepts=bool(work.concepts))
        bar = tqdm(
            desc=f"{job.source.name} {'backward' if work.step < 0 else 'forward'} {place}",
            unit="frame",
            disable=not self._show,
            file=sys.stderr,
        )
        with bar:
            track_pass(work, job.source, models, job.store, self._watch(bar))

    def _watch(self, bar: Any) -> Watch:
        def began(frames: int, done: int) -> None:
            bar.reset(total=frames)
            bar.initial = done
            bar.update(done)

        def frame(record: FrameRecord) -> None:
            seen = sum(one.area > 0 for one in record.objects)
            bar.set_postfix_str(f"{seen} of {len(record.objects)} objects", refresh=False)
            bar.update(1)

        return Watch(began, frame, self._stopping.is_set)
