"""From tracking results to messages: objects, detections, label image, label info."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sam_msgs.msg import ConceptInstance, ObjectSummary, TrackedObject, TrackedObjectArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, LabelInfo, ObjectHypothesisWithPose, VisionClass

from sam_core import FrameResult, ObjectInfo, ObjectState, TrackState
from sam_core.association import Instance
from sam_core.streaming.masks import logits_at_pixels
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import to_time

__all__ = [
    "UNLABELLED",
    "Masks",
    "concept_instance_message",
    "detections_message",
    "label_image_message",
    "label_info_message",
    "mask_of",
    "objects_message",
    "summary_message",
]

LARGEST_LABEL = 65534  # ids above it do not fit into a mono16 label image, where 65535 means "unlabelled"

UNLABELLED = "object"  # class of an object without a label: filters need a name

_STATES = {
    ObjectState.TRACKED: TrackedObject.TRACKED,
    ObjectState.ABSENT: TrackedObject.ABSENT,
    ObjectState.NO_MASK: TrackedObject.NO_MASK,
}

_TRACK_STATES = {
    TrackState.TENTATIVE: TrackedObject.TRACK_TENTATIVE,
    TrackState.TRACKED: TrackedObject.TRACK_TRACKED,
    TrackState.OCCLUDED: TrackedObject.TRACK_OCCLUDED,
    TrackState.LOST: TrackedObject.TRACK_LOST,
}


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


def objects_message(masks: Masks, header: Header, *, with_masks: bool = True) -> TrackedObjectArray:
    """Return all objects of a frame.

    Args:
        masks: The frame's result.
        header: The input image's header.
        with_masks: Whether the cropped masks are filled in.
    """
    result = masks.result
    message = TrackedObjectArray(header=header, sequence=result.frame)
    for i, object_id in enumerate(result.object_ids):
        x1, y1, x2, y2 = masks.boxes[i]
        item = TrackedObject()
        item.id = object_id
        item.label = result.labels[i]
        item.state = _STATES[result.states[i]]
        item.predicted_iou = masks.predicted_iou[i]
        item.presence = masks.presence[i]
        status = result.statuses.get(object_id)
        if status is not None:
            item.track_state = _TRACK_STATES[status.state]
            item.last_seen = to_time(status.last_seen or 0)
        origin = result.origins.get(object_id)
        if origin is not None:
            item.concept = origin.concept
            item.confirmation = TrackedObject.CONFIRMED if origin.confirmed else TrackedObject.TENTATIVE
            item.detection_score = origin.score
        item.box.x_offset, item.box.y_offset = x1, y1
        item.box.width, item.box.height = x2 - x1, y2 - y1
        item.area = masks.areas[i]
        item.centroid_x, item.centroid_y = masks.centroids[i]
        if with_masks:
            item.mask = array_to_image(masks.crops[i].view(np.uint8) * np.uint8(255), "mono8", header)
        message.objects.append(item)
    return message


def detections_message(masks: Masks, header: Header) -> Detection2DArray:
    """Return the boxes of the objects that have a mask: `id` is the object's, `class_id` its label or `UNLABELLED`."""
    message = Detection2DArray(header=header)
    result = masks.result
    for i, object_id in enumerate(result.object_ids):
        x1, y1, x2, y2 = masks.boxes[i]
        if x2 <= x1:
            continue
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = result.labels[i] or UNLABELLED
        hypothesis.hypothesis.score = masks.scores[i]
        detection = Detection2D(header=header, id=str(object_id), results=[hypothesis])
        detection.bbox.center.position.x = (x1 + x2) / 2.0
        detection.bbox.center.position.y = (y1 + y2) / 2.0
        detection.bbox.size_x = float(x2 - x1)
        detection.bbox.size_y = float(y2 - y1)
        message.detections.append(detection)
    return message


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


def label_image_message(masks: Masks, header: Header) -> Image:
    """Return the label image as mono16."""
    return array_to_image(label_image(masks), "mono16", header)


def label_info_message(objects: tuple[tuple[int, str], ...], header: Header, threshold: float) -> LabelInfo:
    """Say what the label image's values mean: they are object ids, not classes.

    Args:
        objects: (id, label) of each object.
        header: Header of the first image to which this applies.
        threshold: The mask threshold (logit); the message has it as a probability, 0 to 1.
    """
    message = LabelInfo(header=header, threshold=1 / (1 + math.exp(-threshold)))
    message.class_map.append(VisionClass(class_id=0, class_name="background"))
    for object_id, label in objects:
        if object_id <= LARGEST_LABEL:
            name = f"object {object_id}: {label}" if label else f"object {object_id}"
            message.class_map.append(VisionClass(class_id=object_id, class_name=name))
    return message


def summary_message(info: ObjectInfo) -> ObjectSummary:
    """Return an object without its mask."""
    return ObjectSummary(
        id=info.object_id,
        label=info.label,
        state=_STATES[info.state],
        predicted_iou=float(info.predicted_iou),
        presence=float(info.presence),
    )


def concept_instance_message(
    instance: Instance, detected_box: tuple[float, float, float, float], object_id: int, header: Header
) -> ConceptInstance:
    """Return a detected instance.

    Args:
        instance: Phrase, score and mask.
        detected_box: (x_min, y_min, x_max, y_max) in px as the network regressed it.
        object_id: The object that it is tracked as; 0 where it is not.
        header: Header of the image that was searched.
    """
    message = ConceptInstance(object_id=object_id, phrase=instance.phrase, score=instance.score)
    message.detected_box = np.array(detected_box, np.float32)
    x1, y1, x2, y2 = instance.mask.box
    message.box.x_offset, message.box.y_offset = x1, y1
    message.box.width, message.box.height = x2 - x1, y2 - y1
    message.mask = array_to_image(instance.mask.pixels.view(np.uint8) * np.uint8(255), "mono8", header)
    return message


def mask_of(instance: ConceptInstance, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a detected instance's mask, bool (H, W), in its image of `size` (H, W)."""
    full = np.zeros(size, bool)
    box, crop = instance.box, instance.mask
    rows, columns = slice(box.y_offset, box.y_offset + box.height), slice(box.x_offset, box.x_offset + box.width)
    full[rows, columns] = np.frombuffer(crop.data, np.uint8).reshape(crop.height, crop.width) > 0
    return full
