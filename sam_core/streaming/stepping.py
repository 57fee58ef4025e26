"""Track objects on one frame: the step of those that results show, and of those that catch up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sam_core.streaming.arbiter import Rule
from sam_core.streaming.describe import frame_result, with_statuses
from sam_core.streaming.frame_tracker import FrameTracker, on_frame
from sam_core.streaming.history import Frame, ObjectOnFrame
from sam_core.streaming.objects import ObjectVersion, TrackedObject
from sam_core.streaming.result import FrameResult, ObjectState
from sam_core.streaming.state import StreamState
from sam_core.streaming.track_state import TrackRules, TrackStatus

__all__ = ["Step", "carry", "step"]


@dataclass(frozen=True, eq=False)
class Step:
    """What a frame shows of N objects.

    Attributes:
        result: for the caller.
        known: what the history keeps of each.
        objects: the objects after the frame.
    """

    result: FrameResult
    known: list[ObjectOnFrame]
    objects: list[TrackedObject]


def step(
    tracker: FrameTracker,
    objects: Sequence[TrackedObject],
    frame: Frame,
    rule: Rule | None,
    *,
    threshold: float,
    rules: TrackRules,
) -> Step:
    """Track N objects that results show on the next frame; their memories are written to the bank.

    Args:
        tracker: the network and its memories.
        objects: the objects, in the order of their ids; each has a version that is shown.
        frame: the frame.
        rule: decides on the masks before they are remembered; None remembers what the network says.
        threshold: a pixel belongs to an object where its logit is above this.
        rules: when an object counts as occluded, lost, and found again.
    """
    versions = [_version_on(target, frame.number) for target in objects]
    outcome = tracker.track(versions, frame, rule)
    shown = tracker.show(versions, outcome, frame, threshold)
    result = frame_result(frame, objects, outcome.tracked, outcome.seen, shown)
    statuses = [
        target.status.after(state is not ObjectState.ABSENT, frame.stamp, rules)
        for target, state in zip(objects, result.states, strict=True)
    ]
    result = with_statuses(result, statuses)
    known = on_frame(outcome, shown, result.states)
    tracker.remember(outcome)
    after = [
        target.tracked(_version_after(before, version, one, status), status)
        for target, before, version, one, status in zip(
            objects, versions, outcome.versions, known, statuses, strict=True
        )
    ]
    return Step(result, known, after)


def carry(tracker: FrameTracker, state: StreamState, last: int, until: int) -> StreamState:
    """Carry the versions whose newest frame is `last` one frame further; on frame `until` they are shown."""
    group = [target for target in state.behind if target.latest.frame == last]
    frame = state.history.numbered(last + 1)
    assert frame is not None  # frames that a version still needs stay in the history
    outcome = tracker.track([target.latest for target in group], frame)
    known = on_frame(outcome)
    tracker.remember(outcome)
    for target, version, one in zip(group, outcome.versions, known, strict=True):
        state = state.with_object(target.carried(version, until), {frame.number: one})
    return state


def _version_on(target: TrackedObject, now: int) -> ObjectVersion:
    version = target.shown
    assert version is not None
    return version.awaiting(now) if target.status.awaited else version


def _version_after(
    before: ObjectVersion, after: ObjectVersion, known: ObjectOnFrame, status: TrackStatus
) -> ObjectVersion:
    """Return a version after a frame.

    An object that is looked for by a saved memory remembers nothing until it is found: else memories of its absence
    would soon outvote the saved one.
    """
    version = replace(before, last_seen=after.last_seen) if status.awaited else after
    return replace(version, suppressed=known.suppressed, empty=known.empty)
