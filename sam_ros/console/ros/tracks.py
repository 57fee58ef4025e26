"""The last seconds of each object's score, for a small plot."""

from __future__ import annotations

from collections import deque

from sam_msgs.msg import TrackedObject, TrackedObjectArray

__all__ = ["ScoreHistory"]

KEPT = 90  # results


class ScoreHistory:
    """Keep the newest scores (predicted IoU times presence) of the objects that are tracked now."""

    def __init__(self) -> None:
        self._scores: dict[int, deque[float]] = {}

    def add(self, message: TrackedObjectArray) -> None:
        """Take a result; who is not in it any more is forgotten."""
        listed: dict[int, deque[float]] = {}
        for item in message.objects:
            scores = self._scores.get(item.id) or deque(maxlen=KEPT)
            scores.append(item.predicted_iou * item.presence if item.state == TrackedObject.TRACKED else 0.0)
            listed[item.id] = scores
        self._scores = listed  # exchanged as a whole: other threads read it

    def of(self, object_id: int) -> tuple[float, ...]:
        """Return an object's scores, oldest first, 0 to 1."""
        return tuple(self._scores.get(object_id, ()))
