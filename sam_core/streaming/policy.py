"""Which frames an object's memory keeps, and where in time they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Observation:
    """What is known of an object on a frame when the frame knocks at its memory.

    Attributes:
        frame: frame number.
        predicted_iou: the decoder's estimate of its own mask's quality, 0 … 1.
        object_score: logit that the object is visible.
        prompted: whether a prompt was given on this frame.
        absent_for: successive frames, up to this one, on which the object was said absent.
        yielded: whether what its mask covered was given to another object, so that it is shown as absent.
    """

    frame: int
    predicted_iou: float
    object_score: float
    prompted: bool
    absent_for: int = 0
    yielded: bool = False


class MemoryPolicy(Protocol):
    """Choice of memories."""

    def considers(self, frame: int) -> bool:
        """Tell, before a frame is tracked, whether any object's spatial memory of it may be stored.

        Where not, none is made, which spares the memory encoder. Prompted frames are not asked for.
        """
        ...

    def admits(self, observation: Observation) -> bool:
        """Tell whether this frame's spatial memory is stored, in place of the oldest."""
        ...

    def place_in_time(self, now: int, stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
        """Choose among stored frames.

        Args:
            now: number of the frame that is about to be tracked.
            stored: numbers of the stored non-conditioning frames, ascending, all before `now`.
            num_memories: the model's count of places in time; 1 is the oldest, `num_memories` - 1 the newest.

        Returns:
            Pairs of frame number and place, oldest first.
        """
        ...


class FifoPolicy:
    """SAM 2 as published (section 4, "Memory bank"): the last `num_memories` - 1 frames, whatever they show."""

    def considers(self, frame: int) -> bool:
        """Every frame may enter."""
        return True

    def admits(self, observation: Observation) -> bool:
        """Every frame enters."""
        return True

    def place_in_time(self, now: int, stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
        """A frame's place is its distance to now; frames that are missing leave a gap."""
        return [(frame, num_memories - (now - frame)) for frame in stored if now - frame < num_memories]


class VisibleFramesPolicy:
    """Frames on which the object is absent do not enter the spatial memory.

    Through a long absence the bank keeps the last frames that showed the object. The idea is that of SAMURAI's memory
    selection (Yang et al., 2024, section 4.2), which chooses by thresholds on three scores.
    """

    def considers(self, frame: int) -> bool:
        """Every frame may enter."""
        return True

    def admits(self, observation: Observation) -> bool:
        """Prompted frames enter, and such as show the object."""
        return observation.prompted or observation.object_score > 0

    def place_in_time(self, now: int, stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
        """The newest stored frames get the newest places, however long ago they were."""
        return _newest_places(stored, num_memories)


class StridedPolicy:
    """Every `stride`-th frame enters the spatial memory; of an absence the first `patience` frames alone.

    The memory reaches `stride` times as far back, and a mistake takes as many times longer to fill it. XMem (Cheng and
    Schwing, 2022) fills its working memory so. SAM 2's `memory_temporal_stride_for_eval` keeps the frame just before,
    too. Object pointers are stored of every frame, as ever.

    Args:
        stride: frames from one memory to the next.
        patience: frames of an absence after which no more of it enter, so that however long it is, memories of before
            are left: of the 6 recent memories at least one, by default.

    Raises:
        ValueError: a stride below 1, or a patience below 0.
    """

    def __init__(self, stride: int = 3, patience: int = 15) -> None:
        if stride < 1 or patience < 0:
            raise ValueError(f"stride must be at least 1 and patience at least 0, not {stride} and {patience}.")
        self.stride = stride
        self.patience = patience

    def considers(self, frame: int) -> bool:
        """Frames whose number the stride divides, so that those of all objects coincide."""
        return frame % self.stride == 0

    def admits(self, observation: Observation) -> bool:
        """Prompted frames enter, and those considered, unless the object has been absent for too long."""
        considered = self.considers(observation.frame) and observation.absent_for <= self.patience
        return observation.prompted or considered

    def place_in_time(self, now: int, stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
        """The newest stored frames get the newest places."""
        return _newest_places(stored, num_memories)


def _newest_places(stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
    recent = stored[-(num_memories - 1) :]
    return [(frame, num_memories - len(recent) + k) for k, frame in enumerate(recent)]


# By the name that a parameter file or a command line gives them.
POLICIES: dict[str, Callable[[], MemoryPolicy]] = {
    "fifo": FifoPolicy,
    "strided": StridedPolicy,
    "visible": VisibleFramesPolicy,
}
