"""What decides which frames an object's memory keeps, where in time they stand, and which mask is taken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sam_core.streaming.network import SamOutput


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
        policy_state: what the policy knows of the object after this frame: an immutable value of bounded size, and
            of the policy's own type; None for nothing. It belongs to the frame, so a correction of an earlier frame
            goes on from the state that the object had there.
    """

    frame: int
    predicted_iou: float
    object_score: float
    prompted: bool
    absent_for: int = 0
    remembered_as: float | None = None
    policy_state: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Examination:
    """What a policy finds in the candidate masks of B objects; tensors stay on the device.

    Attributes:
        best: (B,) index of the candidate to take; None for the network's own choice.
        evidence: (B, E) uint8 bytes that `MemoryPolicy.note` reads on the host. They come with the scores, in the one
            transfer of a frame.
        states: of each object what `note` is given besides, without a transfer.
    """

    best: Tensor | None
    evidence: Tensor
    states: Sequence[Any]


class MemoryPolicy(ABC):
    """Choice of the frames in memory, and of the mask among candidates. A policy has settings, but no state.

    What it has to know of an object is kept in `Observation.policy_state`.

    Attributes:
        examines: whether it looks at the candidate masks; `examine` and `note` are called then.
        follows_camera: whether `examine` is told how the image moved.
        spare_memories: recent memories that are held besides the model's number, so that a correction of an earlier
            frame still finds those that have been replaced since.
        conditioning_frames: conditioning frames that are held for it; 1 where it makes none.
    """

    examines: bool = False
    follows_camera: bool = False
    spare_memories: int = 0
    conditioning_frames: int = 1

    # --- which frames ------------------------------------------------------------------------------------------------

    def considers(self, frame: int) -> bool:
        """Return whether any object's spatial memory of a frame may be kept, before the frame is tracked.

        If not, the memory encoder does not run. Prompted frames are always encoded.
        """
        return True

    def admits(self, observation: Observation) -> bool:
        """Return whether the spatial memory of this frame is kept, in place of the oldest."""
        return True

    def retains(self, observation: Observation) -> bool:
        """Return whether an admitted memory stays; if not, it gives way to the next one that is admitted."""
        return True

    def passing(self, last: Observation) -> int | None:
        """Return the frame whose memory gives way to the next one that is admitted; None for none of its own.

        Args:
            last: the object's newest frame.
        """
        return None if self.retains(last) else last.frame

    def makes_conditioning(self, observation: Observation) -> bool:
        """Return whether this frame becomes a conditioning frame, which is kept for long."""
        return False

    def keeps_pointer(self, observation: Observation) -> bool:
        """Return whether the object pointer of this frame is kept."""
        return True

    # --- where in time -----------------------------------------------------------------------------------------------

    def attend(
        self, now: int, conditioning: Sequence[int], stored: Sequence[int], num_memories: int
    ) -> list[tuple[int, int]]:
        """Choose among the frames that are held.

        Args:
            now: number of the frame that is about to be tracked.
            conditioning: numbers of the conditioning frames that are held, ascending, all before `now`.
            stored: the same of other frames.
            num_memories: the model's number of temporal positions: 0 is that of conditioning frames, 1 the oldest,
                `num_memories` - 1 the newest.

        Returns:
            Pairs of frame number and temporal position: conditioning frames first, then others, oldest first.
        """
        return [*((frame, 0) for frame in conditioning), *self.place_in_time(now, stored, num_memories)]

    @abstractmethod
    def place_in_time(self, now: int, stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
        """Choose among the frames that are no conditioning frames; see `attend`."""

    # --- which mask --------------------------------------------------------------------------------------------------

    def examine(self, output: SamOutput, last: Sequence[Observation], shift: Tensor | None) -> Examination:
        """Look at the candidates of B objects on a frame. Nothing here may wait for the device.

        Args:
            output: the candidates; `best` is the network's own choice.
            last: of each object the frame before.
            shift: (3,) how the image moved since the frame before, see `shift_between`; None where that is not known.
        """
        raise NotImplementedError

    def note(self, seen: Observation, last: Observation, evidence: NDArray[np.uint8], state: Any) -> Any:
        """Return the object's `policy_state` after a frame.

        Args:
            seen: the frame's scores, those of the mask that was taken.
            last: the frame before.
            evidence: (E,) the object's part of `Examination.evidence`.
            state: its part of `Examination.states`.
        """
        return None

    def note_prompt(self, last: Observation) -> Any:
        """Return the object's `policy_state` after a prompt."""
        return None


def newest_positions(stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
    """Give the newest stored frames the newest temporal positions, however long ago they were."""
    recent = stored[-(num_memories - 1) :]
    return [(frame, num_memories - len(recent) + k) for k, frame in enumerate(recent)]
