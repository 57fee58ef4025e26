"""Exemplars that a caller points out in an image, checked and brought to the network's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sam_core.margin import clip_boxes, clip_points, is_far
from sam_core.sam3.errors import ExemplarError
from sam_core.sam3.geometry import GeometryPrompts
from sam_core.sam3.positions import corners_to_centre


@dataclass(frozen=True, eq=False)
class Exemplars:
    """Instances shown in the image itself: "more like this" (label 1) and "not like this" (label 0).

    Those that leave the image by at most 2 % of its side, or 4 px, are clipped to it. Others are refused.

    Attributes:
        boxes: (K, 4) x1, y1, x2, y2 in pixels of the image.
        box_labels: (K,) 1 or 0; all 1 where None.
        points: (P, 2) x, y in pixels of the image.
        point_labels: (P,) 1 or 0; all 1 where None.
    """

    boxes: ArrayLike = ()
    box_labels: ArrayLike | None = None
    points: ArrayLike = ()
    point_labels: ArrayLike | None = None

    def normalised(self, image_size: tuple[int, int]) -> _NormalisedExemplars:
        """Check everything against an image of (height, width) and scale it to the unit square.

        Raises:
            ExemplarError: a sentence that names the first exemplar that does not fit, and why.
        """
        height, width = image_size
        boxes = _as_rows(self.boxes, 4, "boxes")
        points = _as_rows(self.points, 2, "points")
        labels = _as_labels(self.box_labels, len(boxes), "box")
        point_labels = _as_labels(self.point_labels, len(points), "point")
        inner, inner_points = clip_boxes(boxes, height, width), clip_points(points, height, width)
        far = is_far(boxes, inner, height, width) | (inner[:, 2:] <= inner[:, :2]).any(axis=1)
        for index, (x1, y1, x2, y2) in enumerate(boxes):
            what = f"Exemplar box {index} ({x1:g}, {y1:g}, {x2:g}, {y2:g})"
            if x2 <= x1 or y2 <= y1:
                raise ExemplarError(f"{what} is empty: it needs x1 < x2 and y1 < y2.")
            if far[index]:
                raise ExemplarError(f"{what} reaches outside the image of {width} x {height} px.")
        for index in np.flatnonzero(is_far(points, inner_points, height, width)).tolist():
            x, y = points[index]
            raise ExemplarError(f"Exemplar point {index} ({x:g}, {y:g}) is outside the image of {width} x {height} px.")
        clipped = int((inner != boxes).any(axis=1).sum() + (inner_points != points).any(axis=1).sum())
        remark = f"{clipped} exemplar(s) were clipped to the image of {width} x {height} px." if clipped else ""
        scale = np.array([width, height, width, height], dtype=np.float32)
        unit = corners_to_centre(torch.from_numpy(inner / scale))
        return _NormalisedExemplars(unit, labels, torch.from_numpy(inner_points / scale[:2]), point_labels, remark)


@dataclass(frozen=True, eq=False)
class _NormalisedExemplars:
    """Exemplars in the unit square: boxes (K, 4) centre x, y, width, height; points (P, 2); labels int64.

    `remark` says what was clipped; empty for nothing.
    """

    boxes: torch.Tensor
    box_labels: torch.Tensor
    points: torch.Tensor
    point_labels: torch.Tensor
    remark: str


def batch_exemplars(
    prompts: Sequence[Exemplars | None], image_size: tuple[int, int], device: torch.device
) -> GeometryPrompts:
    """Check the exemplars of a batch of prompts and pad them to the same number.

    Args:
        prompts: one entry a prompt; None for a prompt of words alone.
        image_size: (height, width) of the image that they are on, in pixels.
        device: where the tensors go.

    Raises:
        ExemplarError: an exemplar does not fit the image.
    """
    items = [(prompt or Exemplars()).normalised(image_size) for prompt in prompts]
    boxes = _pad([item.boxes for item in items])
    points = _pad([item.points for item in items])
    box_labels, boxes_valid = _pad_labels([item.box_labels for item in items])
    point_labels, points_valid = _pad_labels([item.point_labels for item in items])
    tensors = (points, point_labels, points_valid, boxes, box_labels, boxes_valid)
    return GeometryPrompts(*(tensor.to(device) for tensor in tensors))


def _as_rows(values: ArrayLike, columns: int, name: str) -> NDArray[np.float32]:
    try:
        array: NDArray[Any] = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ExemplarError(f"Exemplar {name} must be numbers, {columns} a row.") from error
    if array.size == 0:
        return np.zeros((0, columns), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ExemplarError(f"Exemplar {name} must have the shape (N, {columns}), not {array.shape}.")
    if not np.isfinite(array).all():
        raise ExemplarError(f"Exemplar {name} must be finite numbers.")
    return array


def _as_labels(labels: ArrayLike | None, count: int, name: str) -> torch.Tensor:
    if labels is None:
        return torch.ones(count, dtype=torch.long)
    array = np.asarray(labels)
    if array.shape != (count,) and not (count == 0 and array.size == 0):
        raise ExemplarError(f"{count} exemplar {name}(s) need as many labels, not the shape {array.shape}.")
    if not np.isin(array, (0, 1)).all():
        raise ExemplarError(f"An exemplar {name} label is 1 (like this) or 0 (not like this), nothing else.")
    return torch.from_numpy(array.astype(np.int64).reshape(count))


def _pad(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def _pad_labels(labels: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad label vectors to (B, K) and tell padding apart."""
    return _pad(labels), _pad([torch.ones_like(label, dtype=torch.bool) for label in labels])
