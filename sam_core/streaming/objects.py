"""A tracked object, and the clicks that it was given on one frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sam_core.sam2.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT
from sam_core.streaming.policy import Observation
from sam_core.streaming.prompt import CheckedPrompt
from sam_core.streaming.result import ObjectInfo, ObjectState


@dataclass
class Clicks:
    """Points and box that an object was given on one frame; a new click there is combined with them.

    `corrects` tells that they came in several prompts, or after a mask, so that the mask they gave is not theirs alone.
    """

    frame: int
    points: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    box: NDArray[np.float32] | None = None
    corrects: bool = False

    def combined_with(self, prompt: CheckedPrompt, frame: int) -> Clicks:
        """Return these and the prompt's points and box, or the prompt's alone if these are of another frame."""
        before = self if self.frame == frame else Clicks(frame)
        return Clicks(
            frame,
            np.concatenate((before.points, prompt.points)),
            np.concatenate((before.labels, prompt.labels)),
            before.box if prompt.box is None else prompt.box,
            corrects=before is self,
        )

    def as_points(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return all as labelled points; a box's corners stand first (SAM 2's order in training)."""
        if self.box is None:
            return self.points, self.labels
        corners = np.array([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT])
        return np.concatenate((self.box.reshape(2, 2), self.points)), np.concatenate((corners, self.labels))


@dataclass
class TrackedObject:
    """An object of a stream.

    Attributes:
        object_id: unique in the stream for ever.
        label: what it was called.
        row: its place in the memory bank, given to another object once this one is removed.
        first_frame: number of the frame on which it began.
        last_seen: what was observed on the newest frame that it has been carried to.
        clicks: what it was given on the frame of its newest prompt.
    """

    object_id: int
    label: str
    row: int
    first_frame: int
    last_seen: Observation
    clicks: Clicks

    @property
    def frame(self) -> int:
        """Number of the frame that it has been carried to."""
        return self.last_seen.frame

    def info(self, newest: int) -> ObjectInfo:
        """Describe it to a caller; `newest` is the number of the stream's newest frame."""
        return ObjectInfo(
            object_id=self.object_id,
            label=self.label,
            first_frame=self.first_frame,
            frames_behind=newest - self.frame,
            state=state_of(self.last_seen),
            predicted_iou=self.last_seen.predicted_iou,
            presence=1 / (1 + math.exp(-max(_shown_score(self.last_seen), -700.0))),
        )


def state_of(seen: Observation) -> ObjectState:
    """Tell whether an observation shows the object."""
    return ObjectState.TRACKED if _shown_score(seen) > 0 else ObjectState.ABSENT


def _shown_score(seen: Observation) -> float:
    return -abs(seen.object_score) if seen.yielded else seen.object_score
