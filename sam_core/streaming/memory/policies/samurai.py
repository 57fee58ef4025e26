"""SAMURAI: the mask that fits the object's motion, and memories of frames on which it was surely seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_core.streaming.measure import measure_masks
from sam_core.streaming.memory.box_filter import BoxFilter, box_iou, centred
from sam_core.streaming.memory.policy import Examination, MemoryPolicy, Observation, newest_positions
from sam_core.streaming.network import SamOutput


@dataclass(frozen=True, eq=False)
class SamuraiState:
    """What is known of an object's motion after a frame.

    Attributes:
        motion: (21,) float32 on the device: the box filter, and for how many frames the motion has been stable.
        motion_score: IoU of the mask's box with the predicted one; None where the motion was not stable yet.
    """

    motion: Tensor
    motion_score: float | None


class SamuraiPolicy(MemoryPolicy):
    """Take the candidate that fits a Kalman filter of the object's box, and keep frames by three thresholds.

    While the motion is stable, the candidate with the highest α · IoU(its box, the predicted box) + (1 - α) · predicted
    IoU is taken; else the network's own choice. The motion is stable once `stable_frames` frames in succession had a
    predicted IoU above `stable_iou`, until one has not. The memory holds the newest frames with a predicted IoU above
    `memory_iou`, an object score above 0 and a motion score above 0 (where there is one), and in any case the previous
    frame.

    Source: SAMURAI (Yang et al., 2024), sections 4.1 and 4.2; defaults of the released configurations. As in the
    released code, memories may be of any age: its bound of 15 counts frames that qualify, of which 6 are attended to.
    The paper's formula looks at the last 15 frames alone; that is `reach=15`. Different from the code, and on purpose:

    - A frame on which the object is absent ends the motion. The code updates its filter with a box of no size.
    - The motion begins on the first frame that is tracked after a prompt, also after a correction.
    - Where the camera moves, the predicted boxes move with the image (`shift_between`). Where the image changes so much
      that no shift is found, the motion does not count on that frame.
    - The model's threshold of presence stays as it is; the code lowers it to -1.
    - Boxes are measured on the grid of the network's masks.

    Args:
        alpha: weight of the motion.
        stable_frames: frames after which the motion counts as stable.
        stable_iou: predicted IoU above which a frame is one of those.
        memory_iou: predicted IoU above which a frame's memory is kept.
        reach: how many frames back a memory may be; None for any number.
        follow_camera: whether predictions follow the camera; the published rule does not.

    Raises:
        ValueError: a share outside [0, 1], or a count below 1.
    """

    examines = True

    def __init__(
        self,
        alpha: float = 0.25,
        stable_frames: int = 15,
        stable_iou: float = 0.3,
        memory_iou: float = 0.5,
        reach: int | None = None,
        follow_camera: bool = True,
    ) -> None:
        if not all(0 <= share <= 1 for share in (alpha, stable_iou, memory_iou)):
            raise ValueError(
                f"alpha, stable_iou and memory_iou must be in [0, 1], not {alpha}, {stable_iou} and {memory_iou}."
            )
        if stable_frames < 1 or (reach is not None and reach < 1):
            raise ValueError(f"stable_frames and reach must be at least 1, not {stable_frames} and {reach}.")
        self.alpha = alpha
        self.stable_frames = stable_frames
        self.stable_iou = stable_iou
        self.memory_iou = memory_iou
        self.reach = reach
        self.follows_camera = follow_camera

    # --- which frames ------------------------------------------------------------------------------------------------

    def retains(self, observation: Observation) -> bool:
        """Retain frames above the three thresholds, and prompted ones."""
        state = observation.policy_state
        fits = state is None or state.motion_score is None or state.motion_score > 0
        seen = observation.predicted_iou > self.memory_iou and observation.object_score > 0
        return observation.prompted or (seen and fits)

    def place_in_time(self, now: int, stored: Sequence[int], num_memories: int) -> list[tuple[int, int]]:
        """Give the newest stored frames the newest temporal positions."""
        return newest_positions([f for f in stored if self.reach is None or now - f <= self.reach], num_memories)

    # --- which mask --------------------------------------------------------------------------------------------------

    def examine(self, output: SamOutput, last: Sequence[Observation], shift: Tensor | None) -> Examination:
        """Predict the boxes, take the candidates that fit, and update the filters with their boxes."""
        ious = output.ious.float()
        batch, count = ious.shape
        boxes, areas, _ = measure_masks(output.masks.flatten(0, 1) > 0)
        boxes, areas = boxes.float().view(batch, count, 4), areas.view(batch, count)
        before = self._motions(last, ious)
        stable = before[:, 20]
        predicted = BoxFilter.unpacked(before[:, :20].view(batch, 5, 4)).predicted()
        is_stable = stable >= self.stable_frames
        if shift is not None:
            predicted = predicted.moved(shift[:2] * shift[2] * output.masks.shape[-1])
            is_stable = is_stable & (shift[2] > 0)
        fits = box_iou(predicted.corners(), boxes)
        weighted = self.alpha * fits + (1 - self.alpha) * ious
        best = torch.where(is_stable, weighted.argmax(1), output.best)
        place = best[:, None]
        score = torch.where(is_stable, fits.gather(1, place)[:, 0], math.nan)
        seen = (output.object_score[:, 0] > 0) & (areas.gather(1, place)[:, 0] > 0)
        box = centred(boxes.gather(1, place[..., None].expand(-1, -1, 4))[:, 0])
        begins = seen & (stable == 0)
        goes_on = seen & (stable > 0) & (ious.gather(1, place)[:, 0] > self.stable_iou)
        motion = torch.where(goes_on[:, None, None], predicted.updated(box).packed(), predicted.packed())
        motion = torch.where(begins[:, None, None], BoxFilter.begun(box).packed(), motion)
        stable = torch.where(begins | goes_on, (stable + 1).clamp(max=self.stable_frames), 0)
        states = torch.cat((motion.flatten(1), stable[:, None]), 1)
        return Examination(best, score[:, None].view(torch.uint8), states.unbind())

    def note(self, seen: Observation, last: Observation, evidence: NDArray[np.uint8], state: Tensor) -> SamuraiState:
        """Keep the filter, and how well the mask fits it."""
        score = float(evidence.view(np.float32)[0])
        return SamuraiState(state, None if math.isnan(score) else score)

    @staticmethod
    def _motions(last: Sequence[Observation], like: Tensor) -> Tensor:
        """Return the motion (B, 21) of each object before this frame; zeros where there is none."""
        none = like.new_zeros(21)
        return torch.stack([none if seen.policy_state is None else seen.policy_state.motion for seen in last])
