"""From the networks' output to a frame's result: masks at image size, boxes, areas, centroids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.streaming.frames import Frame
from sam_core.streaming.masks import masks_at
from sam_core.streaming.objects import TrackedObject, state_of
from sam_core.streaming.policy import Observation
from sam_core.streaming.result import FrameResult
from sam_core.streaming.tracking import Tracked


def frame_result(
    frame: Frame, objects: Sequence[TrackedObject], tracked: Tracked, seen: Sequence[Observation], threshold: float
) -> FrameResult:
    """Describe objects on a frame.

    Args:
        frame: the frame.
        objects: N objects.
        tracked: their masks, as they are to be shown.
        seen: what was observed of each.
        threshold: a pixel belongs to an object where its logit is above this.
    """
    masks = masks_at(tracked.low_res[:, 0], frame.size, threshold)
    boxes, areas, centroids = measure_masks(masks)
    return FrameResult(
        frame=frame.number,
        stamp=frame.stamp,
        image_size=frame.size,
        object_ids=tuple(o.object_id for o in objects),
        labels=tuple(o.label for o in objects),
        states=tuple(state_of(observation) for observation in seen),
        low_res=tracked.low_res[:, 0],
        masks=masks,
        boxes=boxes,
        areas=areas,
        centroids=centroids,
        predicted_iou=tracked.iou.float(),
        presence=tracked.score[:, 0].float().sigmoid(),
    )


def empty_result(frame: Frame, side: int, device: torch.device) -> FrameResult:
    """Describe a frame without objects, whose masks would have `side` px a side."""
    masks = torch.zeros(0, *frame.size, dtype=torch.bool, device=device)
    boxes, areas, centroids = measure_masks(masks)
    return FrameResult(
        frame=frame.number,
        stamp=frame.stamp,
        image_size=frame.size,
        object_ids=(),
        labels=(),
        states=(),
        low_res=torch.zeros(0, side, side, device=device),
        masks=masks,
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
    columns, rows = count_pixels(masks)
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


def count_pixels(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Count the pixels of masks (N, H, W) bool per column, (N, W) int64, and per row, (N, H) int64.

    Eight pixels are added at a time: a row is read as 64-bit numbers, whose bytes, 0 or 1 each, do not overflow into
    each other in a sum of at most 255.
    """
    width = masks.shape[2]
    bytes_ = masks.contiguous().view(torch.uint8)
    eights = (F.pad(bytes_, (0, -width % 8)) if width % 8 else bytes_).view(torch.int64)  # (N, H, W / 8)

    def add_up(dim: int) -> Tensor:  # (N, other, 8), the last being the bytes
        sums = [part.sum(dim).view(torch.uint8).long() for part in eights.split(255, dim)]
        return torch.stack(sums).sum(0).unflatten(1, (-1, 8))

    return add_up(1).flatten(1)[:, :width], add_up(2).sum(-1)
