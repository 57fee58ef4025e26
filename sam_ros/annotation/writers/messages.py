"""From records to the messages that the node publishes, as rosbags holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_core import ObjectState
from sam_ros.annotation.records import FrameRecord, ObjectRecord, decode_mask
from sam_ros.annotation.typestore import typestore
from sam_ros.annotation.writers.davis import label_map
from sam_ros.conversions.masks import LARGEST_LABEL, UNLABELLED

__all__ = ["BOXES", "IMAGE", "INFO", "OBJECTS", "Header", "header_of", "messages_of"]

OBJECTS, BOXES = "sam_msgs/msg/TrackedObjectArray", "vision_msgs/msg/Detection2DArray"
IMAGE, INFO = "sensor_msgs/msg/Image", "vision_msgs/msg/LabelInfo"
Header = Any  # std_msgs/msg/Header of rosbags
_STATES = {ObjectState.TRACKED: 1, ObjectState.ABSENT: 2, ObjectState.NO_MASK: 3}
_TRACK_STATES = {"tentative": 1, "tracked": 2, "occluded": 3, "lost": 4}
_PROMPTED, _TENTATIVE, _CONFIRMED = 0, 1, 2


def _make(kind: str, **fields: Any) -> Any:
    """Return a message; `kind` is short for one of `sam_msgs`, or names its package."""
    return typestore().types[kind if "/" in kind else f"sam_msgs/msg/{kind}"](**fields)


def _time(stamp: int) -> Any:
    return _make("builtin_interfaces/msg/Time", sec=stamp // 10**9, nanosec=stamp % 10**9)


def header_of(stamp: int, frame_id: str) -> Header:
    """Return a header; the stamp is in ns."""
    return _make("std_msgs/msg/Header", stamp=_time(stamp), frame_id=frame_id)


def _image(pixels: NDArray[Any], encoding: str, header: Header) -> Any:
    """Return an image without row padding, little-endian."""
    height, width = pixels.shape
    flat = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    step = pixels.nbytes // height if height else 0
    size = {"height": height, "width": width, "step": step}
    return _make(IMAGE, header=header, encoding=encoding, is_bigendian=0, data=flat, **size)


def _object(one: ObjectRecord, size: tuple[int, int], label: str, header: Header) -> Any:
    x1, y1, x2, y2 = one.box
    crop = decode_mask(one.mask, size)[y1:y2, x1:x2] if one.area else np.zeros((0, 0), np.uint8)
    region = {"x_offset": x1, "y_offset": y1, "width": x2 - x1, "height": y2 - y1}
    confirmation = (_CONFIRMED if one.confirmed else _TENTATIVE) if one.concept else _PROMPTED
    return _make(
        "TrackedObject",
        id=one.object_id,
        label=label,
        state=_STATES[one.state],
        predicted_iou=one.predicted_iou,
        presence=one.presence,
        box=_make("sensor_msgs/msg/RegionOfInterest", do_rectify=False, **region),
        mask=_image(crop * np.uint8(255), "mono8", header),
        area=one.area,
        centroid_x=one.centroid[0],
        centroid_y=one.centroid[1],
        concept=one.concept,
        confirmation=confirmation,
        detection_score=one.score,
        track_state=_TRACK_STATES.get(one.track_state, 0),
        last_seen=_time(one.last_seen),
    )


def _detection(one: ObjectRecord, label: str, header: Header) -> Any:
    x1, y1, x2, y2 = one.box
    position = _make("geometry_msgs/msg/Point", x=0.0, y=0.0, z=0.0)
    turn = _make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    pose = _make("geometry_msgs/msg/Pose", position=position, orientation=turn)
    with_covariance = _make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36))
    what = _make("vision_msgs/msg/ObjectHypothesis", class_id=label or UNLABELLED, score=one.quality)
    result = _make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=what, pose=with_covariance)
    middle = _make("vision_msgs/msg/Point2D", x=(x1 + x2) / 2.0, y=(y1 + y2) / 2.0)
    centre = _make("vision_msgs/msg/Pose2D", position=middle, theta=0.0)
    box = _make("vision_msgs/msg/BoundingBox2D", center=centre, size_x=float(x2 - x1), size_y=float(y2 - y1))
    return _make("vision_msgs/msg/Detection2D", header=header, results=[result], bbox=box, id=str(one.object_id))


def info_of(objects: Sequence[tuple[int, str]], header: Header, threshold: float) -> Any:
    """Return what the label image's values mean; the threshold is a logit."""
    classes = [(0, "background")]
    for object_id, label in objects:
        if object_id <= LARGEST_LABEL:
            classes.append((object_id, f"object {object_id}: {label}" if label else f"object {object_id}"))
    named = [_make("vision_msgs/msg/VisionClass", class_id=i, class_name=name) for i, name in classes]
    return _make(INFO, header=header, class_map=named, threshold=1 / (1 + math.exp(-threshold)))


def messages_of(record: FrameRecord, sequence: int, labels: Any, header: Header) -> dict[str, Any]:
    """Return a frame's messages by the last part of their topic, as the node publishes them.

    Args:
        record: The frame.
        sequence: Number of usable frames before it.
        labels: What each object is called, by id.
        header: The image's header.
    """
    named = [(one, labels.get(one.object_id, "")) for one in record.objects]
    objects = [_object(one, record.size, label, header) for one, label in named]
    boxes = [_detection(one, label, header) for one, label in named if one.area]
    return {
        "objects": _make("TrackedObjectArray", header=header, sequence=sequence, objects=objects),
        "detections": _make(BOXES, header=header, detections=boxes),
        "label_image": _image(label_map(record), "mono16", header),
    }
