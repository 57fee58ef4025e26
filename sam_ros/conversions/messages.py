"""From tracking results to messages: objects, detections, label image, label info."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from sam_msgs.msg import ConceptInstance, ObjectSummary, TrackedObject, TrackedObjectArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, LabelInfo, ObjectHypothesisWithPose, VisionClass

from sam_core import ObjectInfo, ObjectState, TrackState
from sam_core.association import Instance
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.masks import LARGEST_LABEL, UNLABELLED, Masks, label_image
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
