"""Bipartite matching of queries and true instances, as in DETR (Carion et al., 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
from torch import Tensor

from sam_core.sam3.positions import centre_to_corners

__all__ = ["Matches", "Targets", "generalised_iou", "match"]


@dataclass(frozen=True, eq=False)
class Targets:
    """The true instances of B questions, padded to the same number M.

    Attributes:
        boxes: (B, M, 4) centre x, y, width, height in [0, 1].
        labels: (B, M) int64 numbers in the picture's truth; 0 for padding.
    """

    boxes: Tensor
    labels: Tensor

    @property
    def valid(self) -> Tensor:
        """(B, M) bool, False for padding."""
        return self.labels > 0


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of a query and an instance: (K,) indices of their question, query and instance."""

    question: Tensor
    query: Tensor
    instance: Tensor


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalised IoU (Rezatofighi et al., 2019) of boxes (..., 4), centre x, y, width, height."""
    a, b = centre_to_corners(first), centre_to_corners(second)
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = first[..., 2:].prod(-1) + second[..., 2:].prod(-1) - overlap
    return overlap / union.clamp(min=1e-9) - (hull - union) / hull.clamp(min=1e-9)


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, anchors: Tensor, targets: Targets, anchor_weight: float = 0.0) -> Matches:
    """Match every instance with a query of its own such that the sum of the costs is minimal.

    The cost is 2 x (1 - class probability) + 5 x L1 distance - 2 x generalised IoU, and `anchor_weight` x L1 distance
    of the instance's centre from the query's reference box. The last term makes the assignment stable from the first
    step on; DETR's own changes often in early training ("DN-DETR", Li et al., 2022, section 3.1).

    Args:
        logits: (B, Q).
        boxes: (B, Q, 4).
        anchors: (Q, 4) reference boxes that the queries start from.
        targets: of the B questions.
        anchor_weight: see above.
    """
    distance = (boxes[:, :, None] - targets.boxes[:, None]).abs().sum(-1)  # (B, Q, M)
    start = (anchors[None, :, None, :2] - targets.boxes[:, None, :, :2]).abs().sum(-1)
    overlap = generalised_iou(boxes[:, :, None], targets.boxes[:, None])
    cost = 5 * distance - 2 * overlap + anchor_weight * start - 2 * logits.sigmoid()[..., None]
    table = cost.float().cpu().numpy()
    counts = targets.valid.sum(1).tolist()
    pairs: list[tuple[int, int, int]] = []
    for question, count in enumerate(counts):
        if count:
            queries, instances = linear_sum_assignment(table[question, :, :count])
            pairs += [(question, int(q), int(i)) for q, i in zip(queries, instances, strict=True)]
    columns = torch.tensor(pairs, dtype=torch.long, device=logits.device).reshape(-1, 3)
    return Matches(columns[:, 0], columns[:, 1], columns[:, 2])
