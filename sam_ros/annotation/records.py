"""What is known of the objects on a frame, as it is kept between tracking and writing: figures and run lengths."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from sam_core import ObjectState
from sam_ros.conversions.masks import LARGEST_LABEL, Masks, label_image

__all__ = ["FrameRecord", "ObjectRecord", "decode_mask", "encode_mask", "records_of"]

_EMPTY = (0, 0, 0, 0)


@dataclass(frozen=True)
class ObjectRecord:
    """An object on a frame.

    Attributes:
        object_id: Its id.
        state: Whether it is seen.
        box: (x1, y1, x2, y2) of its mask in px, maxima exclusive; zeros for an empty mask.
        area: Of its mask, px.
        centroid: (x, y) of its mask in px; NaN for an empty mask.
        predicted_iou: 0 to 1.
        presence: 0 to 1.
        mask: Its mask in COCO's compressed run lengths.
        owned: The part of its mask that a label image shows, likewise; None where that is all of it.
        concept: What found it; empty where it was prompted.
        confirmed: Whether the concept's rules had confirmed it by then.
        score: Of the newest detection that matched it, 0 to 1.
        track_state: How its track stands, a value of `TrackState`; empty where that is not known.
        last_seen: Stamp of the newest frame on which it was seen, ns; 0 for none.
    """

    object_id: int
    state: ObjectState
    box: tuple[int, int, int, int]
    area: int
    centroid: tuple[float, float]
    predicted_iou: float
    presence: float
    mask: str
    owned: str | None = None
    concept: str = ""
    confirmed: bool = False
    score: float = 0.0
    track_state: str = ""
    last_seen: int = 0

    def plain(self) -> list[Any]:
        """Return plain values; floats keep every bit."""
        centroid = None if math.isnan(self.centroid[0]) else list(self.centroid)
        seen = [self.object_id, self.state.value, list(self.box), self.area, centroid]
        found = [self.concept, self.confirmed, self.score, self.track_state, self.last_seen]
        return [*seen, self.predicted_iou, self.presence, self.mask, self.owned, *found]

    @classmethod
    def of_plain(cls, values: list[Any]) -> ObjectRecord:
        """Return the record of plain values."""
        object_id, state, box, area, centroid, iou, presence, mask, owned, *found = values
        where = (math.nan, math.nan) if centroid is None else (centroid[0], centroid[1])
        shape = (box[0], box[1], box[2], box[3])
        return cls(object_id, ObjectState(state), shape, area, where, iou, presence, mask, owned, *found)

    @property
    def quality(self) -> float:
        """Predicted IoU times presence, 0 to 1: the score of detections, as the node publishes it."""
        return self.predicted_iou * self.presence


@dataclass(frozen=True)
class FrameRecord:
    """A frame.

    Attributes:
        frame: Its number.
        size: (H, W) of its image in px; zeros where the image could not be used.
        objects: In the order of their ids.
        problem: Why the image could not be used, or what went wrong on it; empty for nothing.
    """

    frame: int
    size: tuple[int, int]
    objects: tuple[ObjectRecord, ...] = ()
    problem: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether the image could be decoded."""
        return self.size != (0, 0)

    def line(self) -> str:
        """Return the frame as a line of JSON."""
        values = [self.frame, list(self.size), [one.plain() for one in self.objects], self.problem]
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def of_line(cls, line: str) -> FrameRecord:
        """Return the frame of a line of JSON."""
        frame, size, objects, problem = json.loads(line)
        return cls(frame, (size[0], size[1]), tuple(ObjectRecord.of_plain(one) for one in objects), problem)


def encode_mask(mask: NDArray[Any]) -> str:
    """Return a mask (H, W), bool or uint8 of 0 and 1, in COCO's compressed run lengths."""
    counts: bytes = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts.decode("ascii")


def decode_mask(text: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a mask of run lengths as uint8 (H, W) of 0 and 1."""
    mask: NDArray[np.uint8] = coco.decode({"size": list(size), "counts": text.encode("ascii")})
    return mask


def records_of(masks: Masks, ids: Mapping[int, int]) -> tuple[ObjectRecord, ...]:
    """Return the records of a frame's result.

    Args:
        masks: The result on the host.
        ids: From the stream's ids to those of the run; objects that are not in it are left out.
    """
    result = masks.result
    height, width = result.image_size
    labels = label_image(masks) if _any_overlap(masks) else None
    records = []
    for i, object_id in enumerate(result.object_ids):
        if object_id not in ids:
            continue
        x1, y1, x2, y2 = masks.boxes[i]
        full = np.zeros((height, width), np.uint8)
        full[y1:y2, x1:x2] = masks.crops[i]
        owned = None
        if labels is not None and object_id <= LARGEST_LABEL:
            shown = labels == object_id
            if int(np.count_nonzero(shown)) != masks.areas[i]:
                owned = encode_mask(shown)
        origin = result.origins.get(object_id)
        found: dict[str, Any] = {}
        status = result.statuses.get(object_id)
        if status is not None:
            found = {"track_state": status.state.value, "last_seen": abs(status.last_seen or 0)}
        if origin is not None:
            found |= {"concept": origin.concept, "confirmed": origin.confirmed, "score": origin.score}
        records.append(
            ObjectRecord(
                ids[object_id],
                result.states[i],
                masks.boxes[i],
                masks.areas[i],
                masks.centroids[i],
                masks.predicted_iou[i],
                masks.presence[i],
                encode_mask(full),
                owned,
                **found,
            )
        )
    return tuple(sorted(records, key=lambda one: one.object_id))


def _any_overlap(masks: Masks) -> bool:
    """Tell whether the boxes of two objects meet."""
    boxes = [box for box in masks.boxes if box != _EMPTY]
    return any(
        one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
        for k, one in enumerate(boxes)
        for other in boxes[:k]
    )
