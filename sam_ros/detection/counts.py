"""What detections came to: counts and times for the diagnostics."""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["DetectionCounts"]


@dataclass
class DetectionCounts:
    """Counts since the node was started; the thread that has the detector writes, others read.

    Attributes:
        detections: Detections done.
        failed: Searches of followed concepts that failed.
        dropped: Searches whose concept was not followed any more when they were done.
        last_seconds: Time that the last detection took, s; None before the first.
        last_end: Monotonic time of its end, s.
        association_seconds: Time that the rules took for the last search, prompts of new objects included, s.
    """

    detections: int = 0
    failed: int = 0
    dropped: int = 0
    last_seconds: float | None = None
    last_end: float = 0.0
    association_seconds: float | None = None

    def detected(self, seconds: float) -> None:
        """Count a detection that took so long."""
        self.detections += 1
        self.last_seconds, self.last_end = seconds, time.monotonic()

    def associated(self, seconds: float) -> None:
        """Note how long the rules took for a search."""
        self.association_seconds = seconds

    @property
    def last_age(self) -> float | None:
        """Time since the last detection ended, s; None before the first."""
        return None if self.last_seconds is None else time.monotonic() - self.last_end
