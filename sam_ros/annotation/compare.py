"""Say what changed between two runs of one recording: masks, ids, missing objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from sam_ros.annotation.records import FrameRecord, ObjectRecord

__all__ = ["Comparison", "compare"]

_SAME = 0.5  # IoU from which two masks on a frame are one object
_LISTED = 20


@dataclass
class Comparison:
    """What changed.

    Attributes:
        frames: Frames that both runs have.
        only: Frames that one run alone has, of A and of B.
        ious: Sums of IoU and counts of frames, by object of A.
        missing: Frames on which an object of A is not in B, by object.
        added: Frames on which an object of B is not in A, by object.
        partners: How often an object of A is which one of B.
        lowest: IoU, frame and object of the masks that differ most.
    """

    frames: int = 0
    only: tuple[int, int] = (0, 0)
    ious: dict[int, tuple[float, int]] = field(default_factory=dict)
    missing: Counter[int] = field(default_factory=Counter)
    added: Counter[int] = field(default_factory=Counter)
    partners: Counter[tuple[int, int]] = field(default_factory=Counter)
    lowest: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def renamed(self) -> dict[int, dict[int, int]]:
        """From an object of A that is another one of B anywhere, to how often it is which."""
        table: dict[int, dict[int, int]] = {}
        for (one, other), count in sorted(self.partners.items()):
            table.setdefault(one, {})[other] = count
        return {one: others for one, others in table.items() if set(others) != {one}}

    @property
    def mean_iou(self) -> float:
        """Mean IoU of all masks that both have; 1 where there are none."""
        count = sum(frames for _, frames in self.ious.values())
        return sum(total for total, _ in self.ious.values()) / count if count else 1.0

    def passes(self, least: float) -> bool:
        """Tell whether nothing changed but masks, and every object keeps a mean IoU of at least `least`."""
        same = not (self.missing or self.added or self.renamed or any(self.only))
        return same and all(total / frames >= least for total, frames in self.ious.values())

    def text(self) -> str:
        """Return the comparison for people."""
        lines = [f"{self.frames} frames in both, mean IoU {self.mean_iou:.4f}"]
        if any(self.only):
            lines.append(f"{self.only[0]} frames in A alone, {self.only[1]} in B alone")
        for one, (total, frames) in sorted(self.ious.items()):
            lines.append(f"object {one}: IoU {total / frames:.4f} over {frames} frames")
        for title, counts in (("missing from B", self.missing), ("new in B", self.added)):
            lines += [f"object {one}: {title} on {count} frames" for one, count in sorted(counts.items())]
        for one, others in self.renamed.items():
            told = ", ".join(f"{other} on {count} frames" for other, count in others.items())
            lines.append(f"object {one} of A is in B: {told}")
        if self.lowest and self.lowest[0][0] < 1:
            told = ", ".join(f"frame {frame} object {one} ({iou:.2f})" for iou, frame, one in self.lowest if iou < 1)
            lines.append(f"lowest: {told}")
        return "\n".join(lines)


def compare(first: Iterator[FrameRecord], second: Iterator[FrameRecord]) -> Comparison:
    """Compare two runs frame by frame.

    Args:
        first: Frames of A in their order.
        second: Frames of B in their order.
    """
    found = Comparison()
    alone = [0, 0]
    one, other = next(first, None), next(second, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.frame < other.frame):
            alone[0] += 1
            one = next(first, None)
        elif one is None or other.frame < one.frame:
            alone[1] += 1
            other = next(second, None)
        else:
            _compare_frame(found, one, other)
            one, other = next(first, None), next(second, None)
    found.only = (alone[0], alone[1])
    return found


def _compare_frame(found: Comparison, one: FrameRecord, other: FrameRecord) -> None:
    found.frames += 1
    before, after = ([item for item in record.objects if item.area] for record in (one, other))
    ious = _ious(before, after, one.size) if one.size == other.size else np.zeros((len(before), len(after)))
    rows, columns = set(range(len(before))), set(range(len(after)))
    same_id = [(i, j) for i in rows for j in columns if before[i].object_id == after[j].object_id and ious[i, j] > 0]
    pairs = sorted(same_id, key=lambda pair: -ious[pair])
    pairs = [pair for pair in pairs if ious[pair] >= _SAME]
    others = sorted(((i, j) for i in rows for j in columns if ious[i, j] >= _SAME), key=lambda pair: -ious[pair])
    late = [pair for pair in same_id if ious[pair] < _SAME]
    for i, j in (*pairs, *others, *late):
        if i not in rows or j not in columns:
            continue
        rows.discard(i)
        columns.discard(j)
        iou, object_id = float(ious[i, j]), before[i].object_id
        total, frames = found.ious.get(object_id, (0.0, 0))
        found.ious[object_id] = (total + iou, frames + 1)
        found.partners[object_id, after[j].object_id] += 1
        found.lowest = sorted([*found.lowest, (iou, one.frame, object_id)])[:_LISTED]
    found.missing.update(before[i].object_id for i in rows)
    found.added.update(after[j].object_id for j in columns)


def _ious(one: list[ObjectRecord], other: list[ObjectRecord], size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the overlaps (N, M) of masks."""
    if not one or not other:
        return np.zeros((len(one), len(other)))
    first, second = (
        [{"size": list(size), "counts": item.mask.encode("ascii")} for item in items] for items in (one, other)
    )
    return np.asarray(coco.iou(first, second, [0] * len(second)))
