"""Count what happens to pairs: located, refused by cause, times, the last problem."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from sam_ros.runtime.texts import legible

__all__ = ["Counts"]

_SAMPLES = 256
MOST_CAUSES = 32


@dataclass
class Counts:
    """What the localizer did since it started.

    Attributes:
        depth_images: Depth images received.
        object_messages: Messages of tracked objects received.
        located: Pairs whose results were published.
        boxes: Objects that got a box.
        without_box: Objects that the tracker saw and that got none.
        refused: Pairs that could not be localized, by cause.
        problem: The newest problem.
        why_no_box: Why the newest object without a box has none.
        times: Newest durations of the work on a pair, s.
    """

    depth_images: int = 0
    object_messages: int = 0
    located: int = 0
    boxes: int = 0
    without_box: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    problem: str = ""
    why_no_box: str = ""
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))

    def refuse(self, cause: str, text: str) -> None:
        """Count a pair that could not be localized."""
        if cause in self.refused or len(self.refused) < MOST_CAUSES:
            self.refused[cause] += 1
        self.problem = legible(text)

    @property
    def milliseconds(self) -> tuple[float, float]:
        """Median and 99th percentile of the work on a pair, ms; NaN before the first."""
        if not self.times:
            return float("nan"), float("nan")
        p50, p99 = np.percentile(np.asarray(self.times), (50, 99)) * 1e3
        return float(p50), float(p99)
