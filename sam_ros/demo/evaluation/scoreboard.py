"""How well a phrase is followed through a scene: every thing that it names, and what it does not name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_core.association import Association
from sam_ros.demo.evaluation.trajectory import FOUND, Reunion, Trajectory

__all__ = ["Scoreboard", "reunions_in"]

_SAME_WORD = {"ball": "circle", "disc": "circle", "box": "square"}
_FILLERS = {"a", "the", "every", "each", "all", "thing", "object"}
_TOUCHES = 0.1  # share of an object from which on it is not beside a thing
# As `Redetector` logs it.
_REUNION = re.compile(
    rf"object (\d+) is {re.escape(Association.REIDENTIFIED.value)}, in the image of (\d+)\.(\d{{9}}) s"
)


def reunions_in(log: str) -> list[Reunion]:
    """Read from a tracker's log which lost objects its detector found, and when."""
    return [Reunion(int(s) * 10**9 + int(ns), int(object_id)) for object_id, s, ns in _REUNION.findall(log)]


def _words(text: str) -> set[str]:
    return {_SAME_WORD.get(word, word) for word in text.lower().split()} - _FILLERS


@dataclass
class Scoreboard:
    """The trajectories of all things that a phrase names.

    Attributes:
        phrase: What is followed.
        trajectories: Of the things whose names have all its words, but for articles.
        reunions: What the detector found again.
        false_alarms: Instances of one detection by word that are none of them; None where none was asked for.
        strays: Objects that touched none of them, and on how many frames.
    """

    phrase: str
    trajectories: list[Trajectory]
    reunions: list[Reunion] = field(default_factory=list)
    false_alarms: int | None = None
    strays: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, phrase: str, names: Sequence[str]) -> Scoreboard:
        """Look for the things that a phrase names among those of a scene, numbered from 1 on."""
        trajectories = [
            Trajectory(name, number) for number, name in enumerate(names, 1) if _words(phrase) <= _words(name)
        ]
        return cls(phrase, trajectories)

    def detected(self, truth: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]]) -> None:
        """Take in one detection by word.

        Args:
            truth: (H, W), the number of the thing at each pixel.
            masks: (H, W) each, of the instances.
        """
        ious = np.zeros((len(self.trajectories), len(masks)))
        for i, trajectory in enumerate(self.trajectories):
            real = truth == trajectory.number
            for j, mask in enumerate(masks):
                ious[i, j] = np.count_nonzero(real & mask) / (np.count_nonzero(real | mask) or 1)
            trajectory.detected_iou = float(ious[i].max(initial=0.0))
        self.false_alarms = int(np.count_nonzero(ious.max(axis=0, initial=0.0) < FOUND))

    def add(self, stamp: int, truth: NDArray[np.uint8], labels: NDArray[np.uint16]) -> None:
        """Add a frame (see `Trajectory.add`)."""
        for trajectory in self.trajectories:
            trajectory.add(stamp, truth, labels)
        meant = np.isin(truth, [trajectory.number for trajectory in self.trajectories])
        for object_id in np.unique(labels[labels > 0]).tolist():
            own = labels == object_id
            if np.count_nonzero(own & meant) < _TOUCHES * np.count_nonzero(own):
                self.strays[object_id] = self.strays.get(object_id, 0) + 1

    def figures(self) -> dict[str, Any]:
        """Return all figures, fit for JSON."""
        return {
            "phrase": self.phrase,
            "things": [trajectory.figures(self.reunions) for trajectory in self.trajectories],
            "false_alarms": self.false_alarms,
            "frames_astray": self.strays,
        }

    def summary(self) -> list[str]:
        """Describe all trajectories, one line a fact."""
        lines = [line for trajectory in self.trajectories for line in trajectory.summary(self.reunions)]
        if self.false_alarms is not None:
            lines.append(f"detected besides, by one call: {self.false_alarms}")
        lines += [f"object {object_id}: on none of them in {n} frames" for object_id, n in sorted(self.strays.items())]
        return lines
