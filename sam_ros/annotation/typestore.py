"""The message types that are read and written, for rosbags: those of ROS, vision_msgs and our own."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from sam_ros.annotation.errors import AnnotationError

__all__ = ["typestore"]

_OURS = ("TrackedObject", "TrackedObjectArray")

# Fields of vision_msgs 4 that our topics use, in its order: what the serialized bytes follow.
_VISION = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
    "Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\nvision_msgs/BoundingBox2D bbox\n"
        "string id"
    ),
    "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
    "VisionClass": "uint16 class_id\nstring class_name",
    "LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold",
}


def _definition(name: str) -> str:
    """Read one of our messages' definitions: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "interfaces", package.parent / "msg"):
        if (folder / f"{name}.msg").is_file():
            return (folder / f"{name}.msg").read_text(encoding="utf-8")
    raise AnnotationError(f"The definition {name}.msg is not there: the installation is incomplete.")


@cache
def typestore() -> Any:
    """Return rosbags' types of ROS 2 with vision_msgs and ours.

    Raises:
        AnnotationError: The installation is incomplete.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    texts = {f"vision_msgs/msg/{name}": text for name, text in _VISION.items()}
    texts |= {f"sam_msgs/msg/{name}": _definition(name) for name in _OURS}
    types: dict[str, Any] = {}
    for name, text in texts.items():
        types |= get_types_from_msg(text, name)
    store.register(types)
    return store
