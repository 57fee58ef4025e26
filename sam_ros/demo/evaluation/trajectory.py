"""What became of one thing of a scene, against the truth: when it was seen, hidden, lost and found again."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOUND", "Return", "Reunion", "Sight", "Trajectory"]

FOUND = 0.5  # IoU with the truth from which on a mask is the thing's
_HIDDEN = 0.1  # of its largest visible area: below it a thing counts as hidden
_SHORTEST = 0.3  # s; a thing that is hidden for less is not said to have been away


@dataclass(frozen=True)
class Sight:
    """One frame of a trajectory.

    Attributes:
        stamp: ns.
        area: Visible pixels of the thing in the truth.
        object_id: The tracked object that covers most of it; 0 for none.
        iou: Of that object's mask with the truth.
        shown: All objects that are seen anywhere on the frame.
    """

    stamp: int
    area: int
    object_id: int
    iou: float
    shown: frozenset[int]


@dataclass(frozen=True)
class Reunion:
    """The detector found an object that the tracker had lost.

    Attributes:
        stamp: Of the image that it was found in, ns.
        object_id: The object.
    """

    stamp: int
    object_id: int


@dataclass(frozen=True)
class Return:
    """A time that the thing was hidden or out of the picture, and what came after.

    Attributes:
        hidden: When it went, ns.
        back: When it showed again, ns.
        found: When an object was on it again, ns; None where none ever was.
        frames: Frames from `back` until then; those that there were, where none ever was.
        before: The object that was on it before.
        after: The one that is on it then; 0 where there is none.
        by_detector: Whether the detector brought it back, rather than the tracker's own memory.
    """

    hidden: int
    back: int
    found: int | None
    frames: int
    before: int
    after: int
    by_detector: bool = False


@dataclass
class Trajectory:
    """The trajectory of one thing.

    Attributes:
        name: What the scene calls it.
        number: Its number in the truth.
        detected_iou: Of the best mask that one detection by word gave for it; None where none was asked for.
        sights: Frames so far.
    """

    name: str
    number: int
    detected_iou: float | None = None
    sights: list[Sight] = field(default_factory=list)

    def add(self, stamp: int, truth: NDArray[np.uint8], labels: NDArray[np.uint16]) -> None:
        """Add a frame.

        Args:
            stamp: ns.
            truth: (H, W), the number of the thing at each pixel.
            labels: (H, W), the id of the tracked object at each pixel.
        """
        real = truth == self.number
        area = int(np.count_nonzero(real))
        areas = dict(zip(*(part.tolist() for part in np.unique(labels, return_counts=True)), strict=True))
        areas.pop(0, None)
        ids, counts = np.unique(labels[real], return_counts=True)
        inside, object_id = max(((int(n), int(i)) for i, n in zip(ids, counts, strict=True) if i), default=(0, 0))
        union = area + areas.get(object_id, 0) - inside
        self.sights.append(Sight(stamp, area, object_id, inside / union if union else 0.0, frozenset(areas)))

    @property
    def _visible_from(self) -> float:
        return _HIDDEN * max((sight.area for sight in self.sights), default=0)

    @property
    def found(self) -> Sight | None:
        """The first frame on which an object is the thing."""
        return next((sight for sight in self.sights if sight.iou >= FOUND), None)

    def _since_found(self) -> list[Sight]:
        first = self.found
        return [] if first is None else [sight for sight in self.sights if sight.stamp >= first.stamp]

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the frames from the first find on in which the thing is visible; a miss counts as 0."""
        seen = [sight.iou for sight in self._since_found() if sight.area > self._visible_from]
        return float(np.mean(seen)) if seen else 0.0

    @property
    def absence(self) -> tuple[int, int]:
        """Frames on which the thing is wholly hidden after the first find, and on how many its object is not seen."""
        hidden = absent = last = 0
        for sight in self._since_found():
            last = sight.object_id if sight.iou >= FOUND else last
            hidden += sight.area == 0
            absent += sight.area == 0 and last not in sight.shown
        return hidden, absent

    @property
    def changes(self) -> int:
        """How often another object than before is on the thing."""
        ids = [sight.object_id for sight in self.sights if sight.iou >= FOUND]
        return sum(before != after for before, after in pairwise(ids))

    def returns(self, reunions: list[Reunion] | None = None) -> list[Return]:
        """List the times that the thing was away after it had been found, as far as they have ended.

        Args:
            reunions: What the detector found again, to tell who brought an object back.
        """
        result: list[Return] = []
        before, gone = 0, None
        waiting: tuple[int, int] | None = None
        frames = 0
        for sight in self.sights:
            if sight.area <= self._visible_from:
                gone = sight.stamp if gone is None else gone
                continue
            if gone is not None:
                if before and sight.stamp - gone >= _SHORTEST * 1e9:
                    if waiting is not None:
                        result.append(Return(*waiting, None, frames, before, 0))
                    waiting, frames = (gone, sight.stamp), 0
                gone = None
            if sight.iou >= FOUND:
                if waiting is not None:
                    by = any(
                        reunion.object_id == sight.object_id and waiting[0] <= reunion.stamp < sight.stamp
                        for reunion in reunions or ()
                    )
                    result.append(Return(*waiting, sight.stamp, frames, before, sight.object_id, by))
                    waiting = None
                before = sight.object_id
            frames += waiting is not None
        if waiting is not None:
            result.append(Return(*waiting, None, frames, before, 0))
        return result

    def figures(self, reunions: list[Reunion] | None = None) -> dict[str, Any]:
        """Return all figures, fit for JSON; times are in s since the first frame."""
        first = self.found
        hidden, absent = self.absence

        def seconds(stamp: int | None) -> float | None:
            return None if stamp is None else round((stamp - self.sights[0].stamp) * 1e-9, 3)

        return {
            "name": self.name,
            "frames": len(self.sights),
            "detected_iou": self.detected_iou,
            "found_s": first and seconds(first.stamp),
            "found_iou": first and first.iou,
            "mean_iou": self.mean_iou,
            "frames_hidden": hidden,
            "frames_hidden_and_absent": absent,
            "id_changes": self.changes,
            "returns": [
                {
                    "hidden_s": seconds(away.hidden),
                    "back_s": seconds(away.back),
                    "found_s": seconds(away.found),
                    "frames": away.frames,
                    "before": away.before,
                    "after": away.after,
                    "by_detector": away.by_detector,
                }
                for away in self.returns(reunions)
            ],
        }

    def summary(self, reunions: list[Reunion] | None = None) -> list[str]:
        """Describe the trajectory, one line a fact."""
        figures = self.figures(reunions)
        lines = [] if self.detected_iou is None else [f"detected by word: mask IoU {self.detected_iou:.2f}"]
        first = self.found
        if first is None:
            lines.append(f"never tracked in {len(self.sights)} frames")
        else:
            lines.append(
                f"tracked after {figures['found_s']:.1f} s as object {first.object_id}, mean IoU {self.mean_iou:.2f} "
                f"while visible, {self.changes} changes of id"
            )
            hidden, absent = self.absence
            if hidden:
                lines.append(f"wholly hidden in {hidden} frames, said to be absent in {absent / hidden:.0%} of them")
        for away in figures["returns"]:
            line = f"hidden from {away['hidden_s']:.1f} to {away['back_s']:.1f} s, "
            if away["found_s"] is None:
                lines.append(f"{line}not found again in {away['frames']} frames")
                continue
            same = "the same object" if away["after"] == away["before"] else f"object {away['before']} before"
            who = "by word" if away["by_detector"] else "by the tracker's memory"
            after = f"found again {who} after {away['found_s'] - away['back_s']:.1f} s, {away['frames']} frames"
            lines.append(f"{line}{after}, as object {away['after']} ({same})")
        return [f"{self.name}: {line}" for line in lines]
