"""Track a pass: read, track, record; save every so often, so that a run that is killed goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sam_core import ImageError
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.models import Models
from sam_ros.annotation.passes import Pass, object_key
from sam_ros.annotation.records import FrameRecord
from sam_ros.annotation.session import PassSession
from sam_ros.annotation.sources import FrameSource
from sam_ros.annotation.store import PassStore, Summary

__all__ = ["Interrupted", "Watch", "track_pass"]


class Interrupted(Exception):  # noqa: N818, it is no error
    """The run was asked to stop; what was done is saved."""


@dataclass(frozen=True)
class Watch:
    """Who looks on while a pass is tracked.

    Attributes:
        began: Called with the number of frames, and how many of them earlier runs have done.
        frame: Called after each frame.
        stopping: Asked before each frame whether to stop.
    """

    began: Callable[[int, int], None] = lambda frames, done: None
    frame: Callable[[FrameRecord], None] = lambda record: None
    stopping: Callable[[], bool] = lambda: False


def track_pass(work: Pass, source: FrameSource, models: Models, store: PassStore, watch: Watch) -> None:
    """Track a pass from where it was left to its end.

    Args:
        work: The pass.
        source: The recording.
        models: The networks.
        store: Where its records go.
        watch: Who looks on.

    Raises:
        AnnotationError: A prompt does not fit its image, or the saved state is damaged or of another model.
        Interrupted: `watch` asked to stop.
    """
    position, state = store.resume(models.tracker.device)
    session = PassSession(work, models)
    elapsed, frames = 0.0, 0
    if state is not None:
        try:
            session.restore(state["session"])
            elapsed, frames = state["elapsed"], state["frames"]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise AnnotationError(f"The state saved in {store.folder} cannot be used: {error}") from error
    watch.began(len(work), position)
    began = time.perf_counter() - elapsed

    def save(at: int) -> None:
        store.save(at, {"session": session.state(), "elapsed": time.perf_counter() - began, "frames": frames})

    for at in range(position, len(work)):
        if watch.stopping():
            save(at)
            raise Interrupted
        record = _step(session, source, work.frame(at))
        frames += record.is_usable
        if work.is_recorded(at):
            store.append(record)
        watch.frame(record)
        if store.wants_saving:
            save(at + 1)
    whole = () if work.is_part else work.objects
    keys = {object_key(one, work.step < 0): one.object_id for one in whole}
    seconds = time.perf_counter() - began
    withdrawn = tuple(sorted(session.withdrawn))
    store.finish(len(work), Summary(keys, session.labels, withdrawn, frames, seconds, session.seconds))


def _step(session: PassSession, source: FrameSource, frame: int) -> FrameRecord:
    stamp, _ = source.index.header(frame)
    try:
        image = source.image(frame)
    except ImageError as error:
        return FrameRecord(
            frame, (0, 0), problem=f"The image of {stamp / 1e9:.3f} s (frame {frame}) is left out: {error}."
        )
    return session.step(frame, image, stamp)
