"""DAM4SAM: a memory that is aware of distractors, things that look like the object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_core.streaming.memory.policy import Examination, MemoryPolicy, Observation
from sam_core.streaming.network import SamOutput

_SIZES = 10  # newest frames with the object whose median area counts
_SIZES_REACH = 300  # how many frames back these may be
_LATE = 15  # frames up to which a correction of an earlier frame finds all memories of that time


@dataclass(frozen=True)
class DistractorState:
    """What the policy knows of an object after a frame.

    Attributes:
        areas: frame number and area, in places of the mask's grid, of the newest frames on which it was seen.
        frames: frames that were tracked since the prompt, this one included; counted up to 2.
        entered: the newest frame that entered the distractor-resolving memory; None before the first.
        passing: the frame that is in the recent memory only because it is the newest one there; None for none.
    """

    areas: tuple[tuple[int, int], ...] = ()
    frames: int = 0
    entered: int | None = None
    passing: int | None = None


class DistractorPolicy(MemoryPolicy):
    """Keep recent memories with a stride, and those of frames that show a look-alike beside the object.

    *Recent memory*: the newest frame, and of the frames before it those whose number is a multiple of the stride; none
    on which the object is absent. *Distractor-resolving memory*: the first prompt's frame, and the newest frames that
    entered, `resolving` together; they have the temporal position of conditioning frames. Both together fill the
    model's number of memories. Pointers of frames on which the object is absent are not kept.

    A frame enters when its predicted IoU is above `least_iou`; its area is within `size_range` of the median of the
    last 10 frames with the object, itself included; more than `gap` frames have passed since the last entry; and a
    distractor is seen. One is seen where, for one of the alternative masks, the box around the mask and the largest
    component of the alternative outside of it has an IoU of at most `most_overlap` with the mask's box. A frame that
    enters is part of the recent memory for the next frame.

    Source: DAM4SAM (Videnovic et al., CVPR 2025, "A Distractor-Aware Memory for Visual Object Tracking with SAM2"),
    section 3, and its released code. There masks are compared at the image's size; here on the grid of the network's
    masks. As in its configuration, corrections count as conditioning frames.

    Args:
        stride: frames from one recent memory to the next.
        resolving: frames of the distractor-resolving memory, with the first one.
        least_iou: predicted IoU above which a frame may enter.
        size_range: least and greatest area of a frame that may enter, over the median.
        gap: frames since the last entry, of which there have to be more.
        most_overlap: IoU of boxes up to which there is a distractor.

    Raises:
        ValueError: a setting out of range.
    """

    examines = True

    def __init__(
        self,
        stride: int = 5,
        resolving: int = 4,
        least_iou: float = 0.8,
        size_range: tuple[float, float] = (0.8, 1.2),
        gap: int = 5,
        most_overlap: float = 0.7,
    ) -> None:
        if stride < 1 or resolving < 1 or gap < 0:
            raise ValueError(
                f"stride and resolving must be at least 1 and gap at least 0, not {stride}, {resolving} and {gap}."
            )
        if not (0 <= least_iou <= 1 and 0 <= most_overlap <= 1 and 0 <= size_range[0] <= size_range[1]):
            raise ValueError("least_iou and most_overlap must be in [0, 1], and size_range ascending.")
        self.stride = stride
        self.resolving = resolving
        self.least_iou = least_iou
        self.size_range = size_range
        self.gap = gap
        self.most_overlap = most_overlap
        self.spare_memories = -(-_LATE // stride)
        # One more than is attended to, as the newest frame counts as recent; and those of late corrections.
        self.conditioning_frames = resolving + 1 + -(-_LATE // (gap + 1))

    # --- which frames ------------------------------------------------------------------------------------------------

    def admits(self, observation: Observation) -> bool:
        """Admit frames with the object, and prompted ones."""
        return observation.prompted or _is_seen(observation)

    def retains(self, observation: Observation) -> bool:
        """Retain every frame of the stride."""
        return observation.frame % self.stride == 0

    def passing(self, last: Observation) -> int | None:
        """Return the newest frame with the object, where it is none of the stride."""
        return None if last.policy_state is None else last.policy_state.passing

    def makes_conditioning(self, observation: Observation) -> bool:
        """Keep frames that entered, and prompted ones."""
        state = observation.policy_state
        return observation.prompted or (state is not None and state.entered == observation.frame)

    def keeps_pointer(self, observation: Observation) -> bool:
        """Keep pointers of frames with the object, and of prompted ones."""
        return observation.prompted or _is_seen(observation)

    # --- where in time -----------------------------------------------------------------------------------------------

    def attend(
        self, now: int, conditioning: Sequence[int], stored: Sequence[int], num_memories: int
    ) -> list[tuple[int, int]]:
        """Choose the two memories, which have `num_memories` places together."""
        first, later = conditioning[:1], [frame for frame in conditioning[1:] if frame < now - 1]
        resolving = [*first, *later[len(later) - min(len(later), self.resolving - 1) :]]
        recent = [*stored, *(frame for frame in conditioning[1:] if frame == now - 1)]
        recent = [frame for frame in recent if frame % self.stride == 0 or frame == recent[-1]]
        places = self.place_in_time(now, recent[-max(num_memories - len(resolving), 1) :], num_memories)
        return [*((frame, 0) for frame in resolving), *places]

    def place_in_time(self, now: int, stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
        """Give these frames the newest temporal positions."""
        return [(frame, num_memories - len(stored) + k) for k, frame in enumerate(stored)]

    # --- which frames enter ------------------------------------------------------------------------------------------

    def examine(self, output: SamOutput, last: Sequence[Observation], shift: Tensor | None) -> Examination:
        """Bring the masks of all candidates to the host, one bit each, and which of them is taken."""
        masks = output.masks > 0
        bits = (
            masks.byte() << torch.arange(masks.shape[1], device=masks.device, dtype=torch.uint8)[:, None, None]
        ).sum(1)
        evidence = torch.cat((output.best[:, None], bits.flatten(1)), 1).to(torch.uint8)
        return Examination(None, evidence, (None,) * len(last))

    def note(self, seen: Observation, last: Observation, evidence: NDArray[np.uint8], state: Any) -> DistractorState:
        """Note the area, and whether the frame enters."""
        side = round((len(evidence) - 1) ** 0.5)
        best, bits = int(evidence[0]), evidence[1:].reshape(side, side)
        mask = (bits >> best & 1).astype(bool)
        area = int(mask.sum())
        before = last.policy_state or DistractorState()
        areas = tuple(known for known in before.areas if seen.frame - known[0] < _SIZES_REACH)
        if area:
            areas = (*areas, (seen.frame, area))[-_SIZES:]
        now = replace(before, areas=areas, frames=min(before.frames + 1, 2))
        if self._may_enter(seen, now, area) and self._shows_distractor(mask, bits, best):
            return replace(now, entered=seen.frame)
        if area:
            return replace(now, passing=None if self.retains(seen) else seen.frame)
        return now

    def note_prompt(self, last: Observation) -> DistractorState:
        """Begin anew, but for the frame that has to give way."""
        return DistractorState(passing=self.passing(last))

    def _may_enter(self, seen: Observation, now: DistractorState, area: int) -> bool:
        """Return whether a frame is reliable: a confident mask of a steady area, some time after the last entry."""
        if not area or seen.predicted_iou <= self.least_iou or now.frames < 2:
            return False
        least, most = (share * median(size for _, size in now.areas) for share in self.size_range)
        return least <= area <= most and (now.entered is None or seen.frame - now.entered > self.gap)

    def _shows_distractor(self, mask: NDArray[np.bool_], bits: NDArray[np.uint8], best: int) -> bool:
        """Return whether an alternative mask reaches far beyond the mask."""
        box = _box(mask)
        for other in range(int(bits.max()).bit_length()):
            outside = ((bits >> other & 1).astype(bool) & ~mask).astype(np.uint8)
            if other == best or not outside.any():
                continue
            _, labels, regions, _ = cv2.connectedComponentsWithStats(outside, connectivity=8)
            largest = labels == 1 + regions[1:, cv2.CC_STAT_AREA].argmax()
            if _area(box) <= self.most_overlap * _area(_box(mask | largest)):  # the one box holds the other
                return True
        return False


def _is_seen(observation: Observation) -> bool:
    """Return whether an object had a mask on a frame; one that the network says to be absent has none."""
    state = observation.policy_state
    return state is not None and bool(state.areas) and state.areas[-1][0] == observation.frame


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the box xyxy of a mask that is not empty, with exclusive maxima."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _area(box: tuple[int, int, int, int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
