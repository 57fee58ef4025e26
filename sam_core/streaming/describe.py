"""From the networks' output to a frame's result: masks at image size, boxes, areas, centroids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.sam2 import SamOutput
from sam_core.streaming.frames import Frame
from sam_core.streaming.objects import TrackedObject, state_of
from sam_core.streaming.policy import Observation
from sam_core.streaming.result import FrameResult


def frame_result(
    frame: Frame, objects: Sequence[TrackedObject], output: SamOutput, seen: Sequence[Observation], threshold: float
) -> FrameResult:
    """Describe objects on a frame.

    Args:
        frame: the frame.
        objects: N objects.
        output: their masks.
        seen: what was observed of each.
        threshold: a pixel belongs to an object where its logit is above this.
    """
    logits = F.interpolate(output.low_res, size=frame.size, mode="bilinear", align_corners=False)[:, 0]
    masks = logits > threshold
    boxes, areas, centroids = measure_masks(masks)
    return FrameResult(
        frame=frame.number,
        stamp=frame.stamp,
        image_size=frame.size,
        object_ids=tuple(o.object_id for o in objects),
        labels=tuple(o.label for o in objects),
        states=tuple(state_of(observation) for observation in seen),
        mask_logits=logits,
        masks=masks,
        boxes=boxes,
        areas=areas,
        centroids=centroids,
        predicted_iou=output.best_iou.float(),
        presence=output.object_score[:, 0].float().sigmoid(),
    )


def empty_result(frame: Frame, device: torch.device) -> FrameResult:
    """Describe a frame without objects."""
    logits = torch.zeros(0, *frame.size, device=device)
    boxes, areas, centroids = measure_masks(logits > 0)
    return FrameResult(
        frame=frame.number,
        stamp=frame.stamp,
        image_size=frame.size,
        object_ids=(),
        labels=(),
        states=(),
        mask_logits=logits,
        masks=logits > 0,
        boxes=boxes,
        areas=areas,
        centroids=centroids,
        predicted_iou=torch.zeros(0, device=device),
        presence=torch.zeros(0, device=device),
    )


def measure_masks(masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Measure masks (N, H, W) bool.

    Returns:
        Boxes (N, 4) int64 xyxy px with exclusive maxima (zeros where empty), areas (N,) int64 px, centroids (N, 2)
        float32 xy px (NaN where empty).
    """
    columns, rows = masks.sum(1), masks.sum(2)  # pixels per column (N, W), per row (N, H)
    areas = rows.sum(1)
    height, width = masks.shape[1:]
    xs = torch.arange(width, device=masks.device)
    ys = torch.arange(height, device=masks.device)

    def span(counts: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        filled = counts > 0
        first = torch.where(filled, places, places.numel()).amin(1)
        last = torch.where(filled, places + 1, 0).amax(1)
        return torch.where(areas > 0, first, 0), last

    (x_min, x_max), (y_min, y_max) = span(columns, xs), span(rows, ys)
    centroids = torch.stack(((columns * xs).sum(1), (rows * ys).sum(1)), dim=1) / areas[:, None].float()
    return torch.stack((x_min, y_min, x_max, y_max), dim=1), areas, centroids
