"""How a track stands over time: a small state machine over what each frame shows, smoothed by hysteresis."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

__all__ = ["TrackRules", "TrackState", "TrackStatus"]


class TrackState(str, Enum):
    """How a track stands; unlike `ObjectState`, which is of one frame, it does not change with a single frame."""

    TENTATIVE = "tentative"  # a concept found the object and has not confirmed it yet (`sam_core.association`)
    TRACKED = "tracked"
    OCCLUDED = "occluded"  # not seen for some frames, for less than `lost_after`: it is expected back
    LOST = "lost"  # not seen for longer, or looked for by a memory and not found yet


@dataclass(frozen=True)
class TrackRules:
    """When the state of a track changes.

    Attributes:
        occluded_after: frames in a row without the object after which a tracked object is occluded.
        lost_after: time without the object after which it is lost, in the stamps' own unit; None for never. Where
            stamps go back or cannot be subtracted, no time passes.
        found_after: frames in a row with the object after which an occluded or lost one is tracked again.

    Raises:
        ValueError: a value that makes no sense.
    """

    occluded_after: int = 5
    lost_after: float | None = None
    found_after: int = 2

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        if self.occluded_after < 1 or self.found_after < 1:
            counts = f"{self.occluded_after} and {self.found_after}"
            raise ValueError(f"occluded_after and found_after must be at least 1, not {counts}.")
        if self.lost_after is not None and not 0 <= self.lost_after < math.inf:
            raise ValueError(f"lost_after must be a finite number and at least 0, not {self.lost_after}.")


@dataclass(frozen=True)
class TrackStatus:
    """How the track of an object stands after a frame.

    Attributes:
        state: the state; never `TENTATIVE` in a stream, which knows nothing of concepts.
        last_seen: stamp of the newest frame on which the object was seen; None for none.
        stamp: stamp of the newest frame.
        seen: frames in a row, up to that one, with the object.
        unseen: frames in a row, up to that one, without it.
        away: time that has passed since the object was tracked, in the stamps' own unit.
        awaited: whether it is looked for by a memory, from a file or an image long past, and has not been found since.
    """

    state: TrackState = TrackState.TRACKED
    last_seen: Any = None
    stamp: Any = None
    seen: int = 0
    unseen: int = 0
    away: float = 0.0
    awaited: bool = False

    def after(self, visible: bool, stamp: Any, rules: TrackRules) -> TrackStatus:
        """Return the status after one frame more.

        Args:
            visible: whether the object is seen on it.
            stamp: of the frame.
            rules: when the state changes.
        """
        seen, unseen = (self.seen + 1, 0) if visible else (0, self.unseen + 1)
        away = self.away + _elapsed(self.stamp, stamp)
        state = self.state
        if state is TrackState.TRACKED:
            if visible:
                away = 0.0
            elif unseen >= rules.occluded_after:
                state = TrackState.OCCLUDED
        elif seen >= rules.found_after:
            return TrackStatus(TrackState.TRACKED, stamp, stamp, seen)
        if state is TrackState.OCCLUDED and not visible and rules.lost_after is not None and away >= rules.lost_after:
            state = TrackState.LOST
        return TrackStatus(state, stamp if visible else self.last_seen, stamp, seen, unseen, away, self.awaited)

    def prompted(self, visible: bool, stamp: Any) -> TrackStatus:
        """Return the status after a prompt on the newest frame; where the object is seen on it, it is tracked."""
        if visible:
            return TrackStatus(TrackState.TRACKED, stamp, stamp, seen=1)
        return replace(self, awaited=False)


def _elapsed(before: Any, now: Any) -> float:
    """Return the time from one stamp to a later one; 0 where it is not later, or stamps cannot be subtracted."""
    try:
        passed = float(now - before)
    except (TypeError, ValueError, RuntimeError):  # other types, NumPy's arrays, PyTorch's tensors
        return 0.0
    return passed if 0 < passed < math.inf else 0.0
