"""SAM 3's memory selection: the newest frames on which the object was surely seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sam_core.streaming.memory.policy import MemoryPolicy, Observation, newest_positions


class SelectivePolicy(MemoryPolicy):
    """Keep frames whose score is above a threshold, and in any case the previous frame.

    The score is max(0, 2 σ(object score) - 1) · predicted IoU: 0 where the object counts as absent. Source: SAM 3
    (Carion et al., 2025), memory selection of its video model (`use_memory_selection`). There the score is the mean
    over all objects; here each object has its own, so that none depends on another. Object pointers are kept of every
    frame.

    Args:
        threshold: scores must be above it.
        reach: how many frames back a memory may be.

    Raises:
        ValueError: a threshold outside [0, 1), or a reach below 1.
    """

    def __init__(self, threshold: float = 0.01, reach: int = 15) -> None:
        if not 0 <= threshold < 1 or reach < 1:
            raise ValueError(f"threshold must be in [0, 1) and reach at least 1, not {threshold} and {reach}.")
        self.threshold = threshold
        self.reach = reach

    def retains(self, observation: Observation) -> bool:
        """Retain frames of a score above the threshold, and prompted ones."""
        return observation.prompted or self.score(observation) > self.threshold

    def place_in_time(self, now: int, stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
        """Give the newest stored frames within reach the newest temporal positions."""
        return newest_positions([frame for frame in stored if now - frame <= self.reach], num_memories)

    @staticmethod
    def score(observation: Observation) -> float:
        """Return how surely the object was seen, 0 … 1."""
        return max(0.0, math.tanh(observation.object_score / 2)) * observation.predicted_iou
