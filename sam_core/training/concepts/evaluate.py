"""Figures of a concept detector: positive micro F1, false alarms and presence.

"SAM 3: Segment Anything with Concepts" (Carion et al., 2025), section 4 (the metric cgF1 is the product of the
positive micro F1 and of the image-level Matthews correlation IL_MCC), here at one threshold of the mask IoU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
from torch import Tensor

__all__ = ["Tally", "mask_ious"]


def mask_ious(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU of each of N masks with each of M: (N, h, w) and (M, h, w) bool to (N, M)."""
    a, b = first.flatten(1).float(), second.flatten(1).float()
    overlap = a @ b.t()
    union = a.sum(1)[:, None] + b.sum(1)[None] - overlap
    return overlap / union.clamp(min=1)


@dataclass
class Tally:
    """Counts over questions (a picture and a prompt each).

    Attributes:
        threshold: of the mask IoU for a predicted instance to be a true one.
        found: true positives in questions that have instances.
        invented: predicted instances without a partner in such questions.
        missed: true instances without a partner.
        present: questions with instances: predicted any, predicted none.
        absent: questions without instances: predicted any, predicted none.
        iou_sum: sum of the IoU of the true positives.
    """

    threshold: float = 0.5
    found: int = 0
    invented: int = 0
    missed: int = 0
    present: tuple[int, int] = (0, 0)
    absent: tuple[int, int] = (0, 0)
    iou_sum: float = 0.0

    def add(self, predicted: Tensor, truth: Tensor) -> None:
        """Count one question: predicted masks (N, h, w) and true ones (M, h, w), bool."""
        any_found = len(predicted) > 0
        if len(truth) == 0:
            self.absent = (self.absent[0] + any_found, self.absent[1] + (not any_found))
            return
        self.present = (self.present[0] + any_found, self.present[1] + (not any_found))
        pairs = 0
        if any_found:
            ious = mask_ious(predicted, truth)
            good = torch.where(ious >= self.threshold, ious, torch.zeros_like(ious)).cpu().numpy()
            rows, columns = linear_sum_assignment(-good)
            matched = good[rows, columns]
            pairs = int((matched > 0).sum())
            self.iou_sum += float(matched.sum())
        self.found += pairs
        self.invented += len(predicted) - pairs
        self.missed += len(truth) - pairs

    @property
    def f1(self) -> float:
        """Positive micro F1: over the questions that have instances."""
        total = 2 * self.found + self.invented + self.missed
        return 2 * self.found / total if total else math.nan

    @property
    def mean_iou(self) -> float:
        """Mean mask IoU of the true positives."""
        return self.iou_sum / self.found if self.found else math.nan

    @property
    def false_alarms(self) -> float:
        """Share of absent concepts of which something was found."""
        total = sum(self.absent)
        return self.absent[0] / total if total else math.nan

    @property
    def mcc(self) -> float:
        """Matthews correlation of "something was found" with "something is there"; 0 where it is undefined."""
        (tp, fn), (fp, tn) = self.present, self.absent
        scale = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return (tp * tn - fp * fn) / scale if scale else 0.0
