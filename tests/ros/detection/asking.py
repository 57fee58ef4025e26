"""Parameters of a tracker with a detector, and calls of its services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rclpy.parameter import Parameter
from sam_msgs.msg import ConceptInstance
from sam_msgs.srv import DetectConcept

from sam_ros.node.tracker_node import TrackerNode

H, W = 96, 128
PLACES = 8
NAN = float("nan")


def parameters(weights: dict[str, Path], tracker: str = "tracker", **more: Any) -> dict[str, Any]:
    return {
        "autostart": True,
        "model": "sam2.1_micro",
        "checkpoint": weights[tracker],
        "device": "cpu",
        "cpu_threads": 1,
        "max_objects": PLACES,
        "detector": "sam3_toy",
        "history_frames": 36,
        "detector_checkpoint": weights["detector"],
        "detector_queue": 2,
        "qos_overrides./seen.subscription.reliability": "reliable",
        **more,
    }


def make_node(weights: dict[str, Path], **more: Any) -> TrackerNode:
    values = {**parameters(weights), "autostart": False, **more}
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    return TrackerNode("here", parameter_overrides=[Parameter(name, value=value) for name, value in plain.items()])


def detect(client: Any, *phrases: str, track: bool = False, **request: Any) -> DetectConcept.Response:
    """Call detect_concept; without a threshold all that the network finds is wanted."""
    request = {"score_threshold": 0.0, "match_iou": 1.0, "max_instances": 3, **request}
    return client.call(DetectConcept, "detect_concept", phrases=list(phrases), action=int(track), **request)


def mask_of(item: Any) -> np.ndarray:
    """Put a cropped mask back into its image, bool (H, W)."""
    full = np.zeros((H, W), bool)
    if item.box.width:
        crop = np.frombuffer(item.mask.data, np.uint8).reshape(item.mask.height, item.mask.width)
        rows = slice(item.box.y_offset, item.box.y_offset + item.box.height)
        full[rows, item.box.x_offset : item.box.x_offset + item.box.width] = crop == 255
    return full


def ids_of(items: list[ConceptInstance]) -> list[int]:
    return [item.object_id for item in items]
