"""Metrics of one tracked object, and their means. J and F are those of DAVIS, computed by ``vos-benchmark``."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from vos_benchmark.evaluator import Evaluator  # type: ignore[import-untyped]

__all__ = ["ObjectFigures", "average", "judge"]

_FEW = 30  # px at 320 px: with fewer visible pixels a frame is neither visible nor absent
_REACH = 10  # frames in which an object has to be found again
_FOUND = 0.5  # IoU that counts as found
_SHORTEST_GAP = 3  # frames of absence that count as an occlusion


@dataclass(frozen=True)
class ObjectFigures:
    """Metrics of one object; NaN where a clip has no such frame.

    Attributes:
        first: IoU on the prompted frame.
        j: mean IoU over later visible frames.
        f: mean boundary F over later visible frames.
        j_late: mean IoU over the visible frames of the clip's last half.
        static: mean IoU over later visible frames of the first frame's true mask, left where it was.
        absent: recall of absence: share of absent frames on which the mask is empty.
        again: share of absences after which the object was recovered (IoU of at least 0.5) within 10 frames.
        switched: share of visible frames on which the mask fits another object better than its own.
    """

    first: float
    j: float
    f: float
    j_late: float
    static: float
    absent: float
    again: float
    switched: float


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    union = int((a | b).sum())
    return float((a & b).sum()) / union if union else 1.0


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def judge(masks: NDArray[np.bool_], labels: NDArray[np.uint8], label: int) -> ObjectFigures:
    """Compare one object's masks with the truth.

    Args:
        masks: bool (T, H, W); empty where the tracker predicts absence. Frame 0 is the prompted one.
        labels: uint8 (T, H, W), the truth of all objects.
        label: the object's number in it.
    """
    truth = labels == label
    counts = truth.sum((1, 2))
    few = _FEW * (labels.shape[-1] / 320) ** 2
    visible, gone = counts >= few, counts == 0
    frames = np.arange(len(truth))
    evaluator = Evaluator()
    later = frames[1:][visible[1:]]
    for t in later:
        evaluator.feed_frame(masks[t].astype(np.uint8), truth[t].astype(np.uint8))
    ious = dict(zip(later.tolist(), evaluator.object_iou[1], strict=True)) if len(later) else {}
    others = [k for k in range(1, int(labels.max()) + 1) if k != label]
    switched = [
        float(any(_iou(masks[t], labels[t] == k) > max(ious[t], 0.1) for k in others)) for t in ious if masks[t].any()
    ]
    switched += [0.0 for t in ious if not masks[t].any()]
    return ObjectFigures(
        first=_iou(masks[0], truth[0]),
        j=_mean(list(ious.values())),
        f=_mean([float(v) for v in evaluator.boundary_f[1]]) if len(later) else float("nan"),
        j_late=_mean([v for t, v in ious.items() if t >= len(truth) // 2]),
        static=_mean([_iou(truth[0], truth[t]) for t in ious]),
        absent=_mean([float(not masks[t].any()) for t in frames[1:] if gone[t]]),
        again=_mean([float(found) for found in _found_again(gone, visible, ious)]),
        switched=_mean(switched),
    )


def _found_again(gone: NDArray[np.bool_], visible: NDArray[np.bool_], ious: dict[int, float]) -> list[bool]:
    """Return for every absence that ends whether the object was found within the reach."""
    result = []
    t = 1
    while t < len(gone):
        if not gone[t]:
            t += 1
            continue
        end = t
        while end < len(gone) and not visible[end]:
            end += 1
        if gone[t:end].sum() >= _SHORTEST_GAP and end < len(gone):
            result.append(any(ious.get(k, 0.0) >= _FOUND for k in range(end, end + _REACH)))
        t = end
    return result


def average(figures: list[ObjectFigures]) -> dict[str, float]:
    """Return the mean of each figure over the objects that have it."""
    result = {}
    for field in fields(ObjectFigures):
        values = [getattr(f, field.name) for f in figures]
        known = [v for v in values if not np.isnan(v)]
        result[field.name] = float(np.mean(known)) if known else float("nan")
    return result
