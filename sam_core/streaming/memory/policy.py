"""What decides which frames an object's memory keeps, and where in time they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Observation:
    """Per-frame scores of an object, by which a memory policy decides.

    Attributes:
        frame: frame number.
        predicted_iou: the decoder's estimate of its mask's IoU, 0 … 1.
        object_score: logit that the object is visible.
        prompted: whether a prompt was given on this frame.
        absent_for: successive frames, up to this one, on which the network said that the object is absent.
        remembered_as: logit of being visible with which the frame's spatial memory was made, where an arbiter decided
            on it; None for `object_score`.
    """

    frame: int
    predicted_iou: float
    object_score: float
    prompted: bool
    absent_for: int = 0
    remembered_as: float | None = None


class MemoryPolicy(Protocol):
    """Choice of the frames in memory. A policy keeps no tensors and no state of its own."""

    def considers(self, frame: int) -> bool:
        """Return whether any object's spatial memory of a frame may be kept, before the frame is tracked.

        If not, the memory encoder does not run. Prompted frames are always encoded.
        """

    def admits(self, observation: Observation) -> bool:
        """Return whether the spatial memory of this frame is kept, in place of the oldest."""

    def retains(self, observation: Observation) -> bool:
        """Return whether an admitted memory stays beyond the next frame; if not, it serves that frame alone."""

    def place_in_time(self, now: int, stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
        """Choose among the frames that are kept.

        Args:
            now: number of the frame that is about to be tracked.
            stored: numbers of the non-conditioning frames that are kept, ascending, all before `now`.
            num_memories: the model's number of temporal positions; 1 is the oldest, `num_memories` - 1 the newest.

        Returns:
            Pairs of frame number and temporal position, oldest first.
        """


def newest_positions(stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
    """Give the newest stored frames the newest temporal positions, however long ago they were."""
    recent = stored[-(num_memories - 1) :]
    return [(frame, num_memories - len(recent) + k) for k, frame in enumerate(recent)]
