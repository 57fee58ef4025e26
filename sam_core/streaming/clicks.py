"""The points and the box that an object was given on one frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sam_core.sam2.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT
from sam_core.streaming.prompt import CheckedPrompt, check_number_of_points


@dataclass(frozen=True, eq=False)
class Clicks:
    """Points and box of one object on one frame; a new prompt there is combined with them.

    Attributes:
        points: (K, 2) float32 xy in px of the frame's image.
        labels: (K,) int64, 1 positive, 0 negative.
        box: (4,) float32 xyxy in px, or None.
    """

    points: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    box: NDArray[np.float32] | None = None

    def combined_with(self, prompt: CheckedPrompt) -> Clicks:
        """Return these points and this box together with those of a prompt; a new box replaces the old one.

        Raises:
            PromptError: there are too many points.
        """
        check_number_of_points(len(prompt.points), len(self.points))
        return Clicks(
            np.concatenate((self.points, prompt.points)),
            np.concatenate((self.labels, prompt.labels)),
            self.box if prompt.box is None else prompt.box,
        )

    def as_points(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return all as labelled points; a box's corners come first (SAM 2's order in training)."""
        if self.box is None:
            return self.points, self.labels
        corners = np.array([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT])
        return np.concatenate((self.box.reshape(2, 2), self.points)), np.concatenate((corners, self.labels))
