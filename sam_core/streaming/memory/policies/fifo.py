"""SAM 2's own memory: the last frames."""

from __future__ import annotations

from collections.abc import Sequence

from sam_core.streaming.memory.policy import MemoryPolicy


class FifoPolicy(MemoryPolicy):
    """Keep the last `num_memories` - 1 frames, whatever they show (SAM 2 paper, section 4, "Memory bank")."""

    def place_in_time(self, now: int, stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
        """Place a frame by its distance to `now`; a missing frame leaves a gap."""
        return [(frame, num_memories - (now - frame)) for frame in stored if now - frame < num_memories]
