"""A memory that reaches further back: every n-th frame."""

from __future__ import annotations

from collections.abc import Sequence

from sam_core.streaming.memory.policy import MemoryPolicy, Observation, newest_positions


class StridedPolicy(MemoryPolicy):
    """Keep every `stride`-th frame, and of an absence only its first `patience` frames.

    The memory reaches `stride` times as far back, so that a wrong mask takes as many times longer to fill it. XMem
    (Cheng and Schwing, 2022) fills its working memory in this way. SAM 2's `memory_temporal_stride_for_eval` keeps the
    previous frame as well. Object pointers are kept of every frame.

    Args:
        stride: frames from one memory to the next.
        patience: frames of an absence after which no more of it are kept. However long the absence lasts, memories of
            the time before are left: with the defaults at least one of 6.

    Raises:
        ValueError: a stride below 1, or a patience below 0.
    """

    def __init__(self, stride: int = 3, patience: int = 15) -> None:
        if stride < 1 or patience < 0:
            raise ValueError(f"stride must be at least 1 and patience at least 0, not {stride} and {patience}.")
        self.stride = stride
        self.patience = patience

    def considers(self, frame: int) -> bool:
        """Consider frames whose number is a multiple of the stride, the same ones for every object."""
        return frame % self.stride == 0

    def admits(self, observation: Observation) -> bool:
        """Admit prompted frames, and considered ones unless the object has been absent for too long."""
        considered = self.considers(observation.frame) and observation.absent_for <= self.patience
        return observation.prompted or considered

    def place_in_time(self, now: int, stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
        """Give the newest stored frames the newest temporal positions."""
        return newest_positions(stored, num_memories)
