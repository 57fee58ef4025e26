"""How well a run's data set agrees with the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO

__all__ = ["Agreement", "agreement"]

_FEW = 120  # px at 640 px: with fewer visible pixels a frame counts neither as visible nor as absent

Truth = Callable[[int], NDArray[np.uint8]]


class Agreement:
    """One object's masks against the truth.

    Attributes:
        ious: IoU on each frame on which it is visible; 0 where the run has no mask.
        absent: For each frame on which it is hidden whether the run has no mask either.
        seen: Frames on which the run has a mask.
    """

    def __init__(self) -> None:
        self.ious: list[float] = []
        self.absent: list[bool] = []
        self.seen = 0

    @property
    def j(self) -> float:
        """Mean IoU over the frames on which it is visible."""
        return float(np.mean(self.ious)) if self.ious else float("nan")

    @property
    def absence(self) -> float:
        """Share of the frames on which it is hidden that the run knows as such."""
        return float(np.mean(self.absent)) if self.absent else float("nan")


def agreement(run: Path, truth: Truth, objects: Sequence[int], frames: range) -> list[Agreement]:
    """Compare the COCO file of a run with the truth.

    Args:
        run: Folder of the run.
        truth: Gives the labels (H, W) of a frame.
        objects: Numbers of the objects in the truth, in the order of their ids in the run.
        frames: Those to compare.
    """
    with redirect_stdout(StringIO()):  # it tells its steps
        data = COCO(run / "coco" / "annotations.json")
    found: dict[int, dict[int, dict[str, object]]] = defaultdict(dict)
    for one in data.anns.values():
        found[one["image_id"] - 1][one["track_id"]] = one
    result = [Agreement() for _ in objects]
    for frame in frames:
        labels = truth(frame)
        for object_id, (number, of_object) in enumerate(zip(objects, result, strict=True), 1):
            real = labels == number
            annotation = found[frame].get(object_id)
            mask = np.zeros_like(real) if annotation is None else data.annToMask(annotation) > 0
            of_object.seen += annotation is not None
            area = int(real.sum())
            if area >= _FEW:
                of_object.ious.append(float((mask & real).sum() / (mask | real).sum()))
            elif not area:
                of_object.absent.append(not mask.any())
    return result
