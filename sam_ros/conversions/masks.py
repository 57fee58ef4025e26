"""A result on the host: cropped masks, figures, and the label image. Needs no ROS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sam_core import FrameResult
from sam_core.streaming.masks import logits_at_pixels

__all__ = ["LARGEST_LABEL", "UNLABELLED", "Masks", "label_image"]

LARGEST_LABEL = 65534  # ids above it do not fit into a mono16 label image, where 65535 means "unlabelled"

UNLABELLED = "object"  # class of an object without a label: filters need a name


@dataclass(frozen=True)
class Masks:
    """A result on the host, as the messages need it.

    Attributes:
        result: The result; its tensors may be on any device.
        crops: For each object its mask inside its box, bool (box height, box width), contiguous; empty (0, 0) for an
            empty mask.
        boxes: For each object (x1, y1, x2, y2) in px, x2 and y2 exclusive; zeros for an empty mask.
        areas: For each object, in px.
        centroids: For each object (x, y) in px, the centre of the top-left pixel at (0.5, 0.5); NaN for an empty mask.
        predicted_iou: For each object, 0 to 1.
        presence: For each object, 0 to 1.
    """

    result: FrameResult
    crops: tuple[NDArray[np.bool_], ...]
    boxes: tuple[tuple[int, int, int, int], ...]
    areas: tuple[int, ...]
    centroids: tuple[tuple[float, float], ...]
    predicted_iou: tuple[float, ...]
    presence: tuple[float, ...]

    @classmethod
    def of(cls, result: FrameResult) -> Masks:
        """Fetch from the result's device what the messages need, and no more: the figures at once, then the crops."""
        scalars = torch.stack((result.areas.double(), result.predicted_iou.double(), result.presence.double()), dim=1)
        table = torch.cat((result.boxes.double(), result.centroids.double(), scalars), dim=1).tolist()
        boxes = tuple((int(x1), int(y1), int(x2), int(y2)) for x1, y1, x2, y2, *_ in table)
        return cls(
            result,
            crops=_fetch_crops(result.masks, boxes),
            boxes=boxes,
            centroids=tuple((row[4], row[5]) for row in table),
            areas=tuple(int(row[6]) for row in table),
            predicted_iou=tuple(row[7] for row in table),
            presence=tuple(row[8] for row in table),
        )

    @property
    def scores(self) -> tuple[float, ...]:
        """For each object predicted IoU times presence, 0 to 1."""
        return tuple(iou * presence for iou, presence in zip(self.predicted_iou, self.presence, strict=True))


def _fetch_crops(masks: torch.Tensor, boxes: Sequence[tuple[int, int, int, int]]) -> tuple[NDArray[np.bool_], ...]:
    """Copy of masks (N, H, W) bool what lies in each one's box (xyxy px) to the host, all in one transfer."""
    crops = [mask[y1:y2, x1:x2] for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True)]
    if not crops:
        return ()
    fetched = torch.cat([crop.flatten() for crop in crops]).cpu().numpy()
    ends = np.cumsum([crop.numel() for crop in crops])[:-1]
    return tuple(flat.reshape(crop.shape) for flat, crop in zip(np.split(fetched, ends), crops, strict=True))


def label_image(masks: Masks) -> NDArray[np.uint16]:
    """Paint object ids into an image (H, W); 0 is background.

    Where masks overlap, the pixel goes to the object whose logit is highest there.
    """
    labels = np.zeros(masks.result.image_size, dtype=np.uint16)
    ids = np.array(masks.result.object_ids)
    for i, where in _painted(masks):
        here, chosen = labels[where], masks.crops[i]
        ys, xs = np.nonzero(chosen & (here != 0))
        if len(ys):
            logits = logits_at_pixels(
                masks.result.low_res, masks.result.image_size, ys + where[0].start, xs + where[1].start
            )
            owners = np.searchsorted(ids, here[ys, xs])  # ids ascend
            chosen = chosen.copy()
            chosen[ys, xs] = logits[i] > np.take_along_axis(logits, owners[None], axis=0)[0]
        np.copyto(here, np.uint16(ids[i]), where=chosen)
    return labels


def _painted(masks: Masks) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Yield the rows of objects that a label image can show, and their boxes as (rows, columns) of the image."""
    for i, (object_id, (x1, y1, x2, y2)) in enumerate(zip(masks.result.object_ids, masks.boxes, strict=True)):
        if object_id <= LARGEST_LABEL and x2 > x1:
            yield i, (slice(y1, y2), slice(x1, x2))
