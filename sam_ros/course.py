"""What became of one thing of a scene, against the truth: when it was seen, hidden, lost and found again."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Course", "Return", "Sight"]

_HIDDEN = 0.1  # of its largest visible area: below it a thing counts as hidden
_SHORTEST = 0.3  # s; a thing that is hidden for less is not said to have been away
_FOUND = 0.5  # IoU with the truth from which on an object is the thing


@dataclass(frozen=True)
class Sight:
    """One frame of a course.

    Attributes:
        seconds: Since the first one.
        area: Visible pixels of the thing in the truth.
        object_id: The tracked object that covers most of it; 0 for none.
        iou: Of that object's mask with the truth.
    """

    seconds: float
    area: int
    object_id: int
    iou: float


@dataclass(frozen=True)
class Return:
    """A time that the thing was hidden or out of the picture, and what came after.

    Attributes:
        hidden: When it went, s.
        back: When it showed again, s.
        found: When an object was on it again, s; None where none ever was.
        before: The object that was on it before.
        after: The one that is on it then; 0 where there is none.
    """

    hidden: float
    back: float
    found: float | None
    before: int
    after: int


@dataclass
class Course:
    """The course of one thing.

    Attributes:
        name: What the scene calls it.
        number: Its number in the truth.
        sights: Frames so far.
    """

    name: str
    number: int
    sights: list[Sight] = field(default_factory=list)
    _start: int | None = None

    def add(self, stamp: int, truth: NDArray[np.uint8], labels: NDArray[np.uint16]) -> None:
        """Add a frame.

        Args:
            stamp: ns.
            truth: (H, W), the number of the thing at each pixel.
            labels: (H, W), the id of the tracked object at each pixel.
        """
        self._start = stamp if self._start is None else self._start
        real = truth == self.number
        area = int(np.count_nonzero(real))
        ids, counts = np.unique(labels[real], return_counts=True)
        best = max(((int(n), int(i)) for i, n in zip(ids, counts, strict=True) if i), default=(0, 0))
        inside, object_id = best
        union = area + int(np.count_nonzero(labels == object_id)) - inside if object_id else area
        self.sights.append(Sight((stamp - self._start) * 1e-9, area, object_id, inside / union if union else 0.0))

    @property
    def _visible_from(self) -> float:
        return _HIDDEN * max((sight.area for sight in self.sights), default=0)

    @property
    def found(self) -> Sight | None:
        """The first frame on which an object is the thing."""
        return next((sight for sight in self.sights if sight.iou >= _FOUND), None)

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the frames from the first find on in which the thing is visible; a miss counts as 0."""
        first = self.found
        if first is None:
            return 0.0
        seen = [s.iou for s in self.sights if s.seconds >= first.seconds and s.area > self._visible_from]
        return float(np.mean(seen))

    def returns(self) -> list[Return]:
        """List the times that the thing was away after it had been found, as far as they have ended."""
        result: list[Return] = []
        before, gone = 0, None
        waiting: tuple[float, float] | None = None
        for sight in self.sights:
            visible = sight.area > self._visible_from
            if not visible:
                gone = sight.seconds if gone is None else gone
                continue
            if gone is not None:
                if before and sight.seconds - gone >= _SHORTEST:
                    if waiting is not None:
                        result.append(Return(*waiting, None, before, 0))
                    waiting = (gone, sight.seconds)
                gone = None
            if sight.iou >= _FOUND:
                if waiting is not None:
                    result.append(Return(*waiting, sight.seconds, before, sight.object_id))
                    waiting = None
                before = sight.object_id
        if waiting is not None:
            result.append(Return(*waiting, None, before, 0))
        return result

    def summary(self) -> list[str]:
        """Describe the course, one line a fact."""
        first = self.found
        if first is None:
            return [f"{self.name}: never found in {len(self.sights)} frames"]
        lines = [
            f"{self.name}: found after {first.seconds:.1f} s as object {first.object_id}, "
            f"mean IoU {self.mean_iou:.2f} while visible"
        ]
        for away in self.returns():
            line = f"{self.name}: hidden from {away.hidden:.1f} to {away.back:.1f} s, "
            if away.found is None:
                lines.append(line + "not found again")
            else:
                same = "the same object" if away.after == away.before else f"object {away.before} before"
                lines.append(f"{line}found again after {away.found - away.back:.1f} s as object {away.after} ({same})")
        return lines
