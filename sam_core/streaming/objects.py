"""A tracked object: its life as immutable states, and what is known of it.

An object is shown in results by one version of itself. A prompt makes a new version. If it was given on the newest
frame, this version is shown from now on. If it was given on an earlier frame, the version first has to catch up: it is
carried through the frames since, while the version before it, if there is one, stays in the results.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from sam_core.streaming.memory import Memory, MemoryIndex, Observation
from sam_core.streaming.result import ObjectInfo, ObjectPhase, ObjectState
from sam_core.streaming.track_state import TrackStatus


@dataclass(frozen=True)
class ObjectVersion:
    """The memories by which an object is tracked, up to some frame.

    Attributes:
        row: its row in the memory bank.
        index: what that row holds.
        first_frame: number of the frame on which the object began, or was renewed.
        last_seen: the scores of the newest frame that it was carried to.
        suppressed: whether a postprocessor gave its mask on that frame to another object.
        empty: whether results show it there without a mask, though the network sees it.
        references: what each postprocessor has to know of the object, from its newest prompt.
        recalled: whether its conditioning memories up to `first_frame` are from another stream, or from long before.
    """

    row: int
    index: MemoryIndex
    first_frame: int
    last_seen: Observation
    suppressed: bool = False
    empty: bool = False
    references: tuple[Any, ...] = ()
    recalled: bool = False

    @property
    def frame(self) -> int:
        """Number of the newest frame that it was carried to."""
        return self.last_seen.frame

    @property
    def memory(self) -> Memory:
        """Its row and index, as the bank takes them."""
        return self.row, self.index

    def awaiting(self, now: int) -> ObjectVersion:
        """Return the version as it is before frame `now`, where nothing is remembered but conditioning frames.

        They stand just before that frame, however long the object is looked for: so its memory does not age meanwhile.
        """
        return replace(self, index=self.index.just_before(now), first_frame=now - 1)

    def as_recalled(self, now: int) -> ObjectVersion:
        """Return the version as it is before frame `now`, where it has only the memories that it began with."""
        return replace(self, index=self.index.forget_from(self.first_frame + 1)).awaiting(now)


@dataclass(frozen=True)
class TrackedObject:
    """An object of a stream; at least one of its two versions is there.

    Attributes:
        object_id: unique in the stream for ever.
        label: what it is called.
        shown: the version in results, carried to the newest frame; None while a new object catches up.
        upcoming: the version that catches up; None for most.
        status: how its track stands over time.
    """

    object_id: int
    label: str
    shown: ObjectVersion | None = None
    upcoming: ObjectVersion | None = None
    status: TrackStatus = field(default_factory=TrackStatus)

    # --- transitions -----------------------------------------------------------------------------------------------

    def prompted(self, version: ObjectVersion, label: str, newest: int, status: TrackStatus) -> TrackedObject:
        """Return the object with a new version; an empty label changes nothing.

        The new version includes what an upcoming one was told, and replaces it.

        Args:
            version: the new version.
            label: what to call the object.
            newest: number of the newest frame.
            status: how the track stands after the prompt.
        """
        named = replace(self, label=label or self.label, status=status)
        if version.frame == newest:
            return replace(named, shown=version, upcoming=None)
        return replace(named, upcoming=version)

    def tracked(self, version: ObjectVersion, status: TrackStatus) -> TrackedObject:
        """Return the object after a step: the version in results was carried one frame further."""
        return replace(self, shown=version, status=status)

    def carried(self, version: ObjectVersion, until: int) -> TrackedObject:
        """Return the object after its upcoming version was carried further; on frame `until` it is shown."""
        if version.frame == until:
            return replace(self, shown=version, upcoming=None)
        return replace(self, upcoming=version)

    # --- facts -----------------------------------------------------------------------------------------------------

    @property
    def latest(self) -> ObjectVersion:
        """The version that knows of the newest prompt."""
        version = self.upcoming or self.shown
        assert version is not None
        return version

    @property
    def versions(self) -> tuple[ObjectVersion, ...]:
        """Both versions, or the one that there is."""
        return tuple(version for version in (self.shown, self.upcoming) if version is not None)

    @property
    def phase(self) -> ObjectPhase:
        """Where the object is in its life."""
        if self.upcoming is None:
            return ObjectPhase.SHOWN
        return ObjectPhase.CATCHING_UP if self.shown is None else ObjectPhase.CORRECTING

    def info(self, newest: int) -> ObjectInfo:
        """Describe the object to a caller; `newest` is the number of the stream's newest frame."""
        version = self.shown or self.latest
        score = score_of(version.last_seen, version.suppressed)
        return ObjectInfo(
            object_id=self.object_id,
            label=self.label,
            phase=self.phase,
            first_frame=version.first_frame,
            frames_behind=newest - version.frame,
            state=state_of(version.last_seen, version.suppressed, version.empty),
            predicted_iou=version.last_seen.predicted_iou,
            presence=1 / (1 + math.exp(-max(score, -700.0))),
            status=self.status,
        )


def state_of(seen: Observation, suppressed: bool, empty: bool) -> ObjectState:
    """Return whether an object is seen on a frame, where its mask there may be empty."""
    if score_of(seen, suppressed) <= 0:
        return ObjectState.ABSENT
    return ObjectState.NO_MASK if empty else ObjectState.TRACKED


def score_of(seen: Observation, suppressed: bool) -> float:
    """Return the logit of being visible that is shown: negative for a suppressed object."""
    return -abs(seen.object_score) if suppressed else seen.object_score
