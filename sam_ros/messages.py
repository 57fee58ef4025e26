"""From tracking results to messages: objects, detections, label image, label info."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sam_msgs.msg import ConceptInstance, ObjectSummary, TrackedObject, TrackedObjectArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, LabelInfo, ObjectHypothesisWithPose, VisionClass

from sam_core import FrameResult, ObjectInfo, ObjectState
from sam_core.concepts import Instance
from sam_ros.encodings import array_to_image

__all__ = [
    "Masks",
    "concept_instance_message",
    "detections_message",
    "label_image_message",
    "label_info_message",
    "nanoseconds",
    "objects_message",
    "stamp_of",
    "summary_message",
    "to_time",
]

LARGEST_LABEL = 65534  # ids above it do not fit into a mono16 label image, where 65535 means "unlabelled"

_STATES = {ObjectState.TRACKED: TrackedObject.TRACKED, ObjectState.ABSENT: TrackedObject.ABSENT}


def nanoseconds(time: Time) -> int:
    """Return a message's time in nanoseconds."""
    return time.sec * 10**9 + time.nanosec


def stamp_of(header: Header) -> int:
    """Return a header's stamp in nanoseconds."""
    return nanoseconds(header.stamp)


def to_time(stamp: int) -> Time:
    """Return nanoseconds as a message."""
    return Time(sec=stamp // 10**9, nanosec=stamp % 10**9)


@dataclass(frozen=True)
class Masks:
    """A result on the host, as the messages need it.

    Attributes:
        result: The result; its tensors may be on any device.
        crops: For each object its mask inside its box, bool (box height, box width); empty (0, 0) for an empty mask.
        boxes: For each object (x1, y1, x2, y2) in px, x2 and y2 exclusive; zeros for an empty mask.
        scores: For each object predicted IoU times presence, 0 to 1.
    """

    result: FrameResult
    crops: tuple[NDArray[np.bool_], ...]
    boxes: tuple[tuple[int, int, int, int], ...]
    scores: tuple[float, ...]

    @classmethod
    def of(cls, result: FrameResult) -> Masks:
        """Copy what the messages need from the result's device."""
        masks = result.masks.cpu().numpy()
        boxes = tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in result.boxes.tolist())
        crops = tuple(mask[y1:y2, x1:x2] for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True))
        scores = tuple((result.predicted_iou * result.presence).tolist())
        return cls(result, crops, boxes, scores)


def objects_message(masks: Masks, header: Header, *, with_masks: bool = True) -> TrackedObjectArray:
    """Return all objects of a frame.

    Args:
        masks: The frame's result.
        header: The input image's header.
        with_masks: Whether the cropped masks are filled in.
    """
    result = masks.result
    areas, centroids = result.areas.tolist(), result.centroids.tolist()
    ious, presences = result.predicted_iou.tolist(), result.presence.tolist()
    message = TrackedObjectArray(header=header, sequence=result.frame)
    for i, object_id in enumerate(result.object_ids):
        x1, y1, x2, y2 = masks.boxes[i]
        item = TrackedObject()
        item.id = object_id
        item.label = result.labels[i]
        item.state = _STATES[result.states[i]]
        item.predicted_iou = ious[i]
        item.presence = presences[i]
        item.box.x_offset, item.box.y_offset = x1, y1
        item.box.width, item.box.height = x2 - x1, y2 - y1
        item.area = areas[i]
        item.centroid_x, item.centroid_y = centroids[i]
        if with_masks:
            item.mask = array_to_image(masks.crops[i].view(np.uint8) * np.uint8(255), "mono8", header)
        message.objects.append(item)
    return message


def detections_message(masks: Masks, header: Header) -> Detection2DArray:
    """Return the boxes of the objects that are in the frame; `id` is the object's id, `class_id` its label."""
    message = Detection2DArray(header=header)
    result = masks.result
    for i, object_id in enumerate(result.object_ids):
        x1, y1, x2, y2 = masks.boxes[i]
        if x2 <= x1:
            continue
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = result.labels[i]
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
    best = np.full(masks.result.image_size, -np.inf, dtype=np.float32) if len(masks.crops) > 1 else None
    for i, object_id in enumerate(masks.result.object_ids):
        x1, y1, x2, y2 = masks.boxes[i]
        if object_id > LARGEST_LABEL or x2 <= x1:
            continue
        here = (slice(y1, y2), slice(x1, x2))
        chosen = masks.crops[i]
        if best is not None:
            logits = masks.result.mask_logits[i, y1:y2, x1:x2].float().cpu().numpy()
            chosen = chosen & (logits > best[here])
            np.copyto(best[here], logits, where=chosen)
        np.copyto(labels[here], np.uint16(object_id), where=chosen)
    return labels


def label_image_message(masks: Masks, header: Header) -> Image:
    """Return the label image as mono16."""
    return array_to_image(label_image(masks), "mono16", header)


def label_info_message(objects: tuple[tuple[int, str], ...], header: Header, threshold: float) -> LabelInfo:
    """Say what the label image's values mean: they are object ids, not classes.

    Args:
        objects: (id, label) of each object.
        header: Header of the first image to which this applies.
        threshold: The mask threshold (logit).
    """
    message = LabelInfo(header=header, threshold=threshold)
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
