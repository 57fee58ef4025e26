"""The localizer's parameters: names, defaults, descriptions, ranges, and which of them change live."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from sam_core.localization import LocalizerSettings
from sam_ros.conversions.encodings import MAX_PIXELS
from sam_ros.runtime.declaration import declare

__all__ = ["LocalizerParameters", "declare_parameters"]

_CHOICES = {"depth_transport": ("raw", "compressedDepth"), "boxes": ("upright", "free")}


@dataclass(frozen=True)
class LocalizerParameters:
    """The values of all parameters at one moment; `_DESCRIPTORS` describes each field under its name."""

    depth_transport: str = "raw"
    registered: bool = True
    rectified: bool = False
    stamp_tolerance: float = 0.005
    partner_timeout: float = 1.0
    queue: int = 60
    target_frame: str = ""
    gravity_frame: str = ""
    transform_timeout: float = 0.2
    boxes: str = "upright"
    min_points: int = 40
    min_range: float = 0.15
    max_range: float = 10.0
    erosion: float = 0.04
    max_erosion: int = 4
    depth_noise: float = 0.0015
    acceleration: float = 0.5
    trail: int = 60
    max_image_pixels: int = MAX_PIXELS
    autostart: bool = False
    pose_object: int = 0
    publish_tf: bool = False
    input_timeout: float = 2.0

    @classmethod
    def read(cls, node: Node) -> LocalizerParameters:
        """Return the current values of a node that has declared them."""
        return cls(**{field.name: node.get_parameter(field.name).value for field in fields(cls)})

    @property
    def settings(self) -> LocalizerSettings:
        """The part that the geometry takes."""
        return LocalizerSettings(
            upright=self.boxes == "upright",
            min_points=self.min_points,
            min_range=self.min_range,
            max_range=self.max_range,
            erosion=self.erosion,
            max_erosion=self.max_erosion,
            depth_noise=self.depth_noise,
        )


def _fixed(description: str, constraints: str = "", **ranges: Any) -> ParameterDescriptor:
    """Describe a parameter that is set when the node starts and cannot change afterwards."""
    return ParameterDescriptor(description=description, additional_constraints=constraints, read_only=True, **ranges)


def _live(description: str, **ranges: Any) -> ParameterDescriptor:
    """Describe a parameter that may change while the node runs."""
    return ParameterDescriptor(description=description, **ranges)


def _between(least: float, most: float) -> dict[str, Any]:
    return {"floating_point_range": [FloatingPointRange(from_value=least, to_value=most)]}


def _from_to(least: int, most: int) -> dict[str, Any]:
    return {"integer_range": [IntegerRange(from_value=least, to_value=most)]}


_DESCRIPTORS: dict[str, ParameterDescriptor] = {
    "depth_transport": _fixed(
        "raw: sensor_msgs/Image on `depth`. compressedDepth: sensor_msgs/CompressedImage on `depth/compressedDepth`.",
        "one of " + ", ".join(_CHOICES["depth_transport"]),
    ),
    "registered": _fixed(
        "Whether depth images are registered to the colour image. false: `depth/camera_info` and the transform between "
        "the two optical frames are used to register them."
    ),
    "rectified": _fixed("Whether the images are rectified: then P of camera_info counts, else K and the distortion."),
    "stamp_tolerance": _fixed(
        "Seconds by which the stamps of a depth image and of tracked objects may differ; the nearest one is taken, an "
        "equal one before all others. 0: equal stamps alone.",
        **_between(0.0, 1.0),
    ),
    "partner_timeout": _fixed(
        "Seconds that tracked objects wait for their depth image, which may come later than they do.",
        **_between(0.0, 60.0),
    ),
    "queue": _fixed(
        "Newest depth images, and tracked objects, that wait for a partner. Depth waits as long as the tracker takes.",
        **_from_to(1, 1000),
    ),
    "target_frame": _fixed(
        "Frame of all results, reached through tf at the image's stamp. Empty: the camera's optical frame."
    ),
    "gravity_frame": _fixed(
        "Frame whose z axis points up, for upright boxes, e.g. base_link or odom. Empty: target_frame. Where both are "
        "empty, boxes are free."
    ),
    "transform_timeout": _fixed("Seconds that a result waits for a transform.", **_between(0.0, 10.0)),
    "boxes": _fixed(
        "upright: boxes stand upright, the hidden side is deduced from the visible ones. free: boxes lie along the "
        "principal axes of the visible points and enclose no more than those.",
        "one of " + ", ".join(_CHOICES["boxes"]),
    ),
    "min_points": _fixed("An object with fewer points gets no box.", **_from_to(4, 100000)),
    "min_range": _fixed("Least depth that counts, m.", **_between(0.0, 1000.0)),
    "max_range": _fixed("Largest depth that counts, m.", **_between(0.01, 1000.0)),
    "erosion": _fixed(
        "Width of a mask's edge that gives no points, as a share of the square root of its area: edge pixels mix "
        "foreground and background.",
        **_between(0.0, 0.5),
    ),
    "max_erosion": _fixed("Most pixels of that edge.", **_from_to(1, 50)),
    "depth_noise": _fixed(
        "Standard deviation of a pixel's depth at 1 m, m; it grows with the square of the depth.", **_between(0.0, 0.1)
    ),
    "acceleration": _fixed(
        "Standard deviation of an object's acceleration, m/s^2, for its velocity: smaller is smoother and slower.",
        **_between(0.001, 1000.0),
    ),
    "trail": _fixed("Positions of each object that ~/markers shows as its trail.", **_from_to(1, 1000)),
    "max_image_pixels": _fixed("Larger depth images are refused before they are decoded.", **_from_to(1, 2**31 - 1)),
    "autostart": _fixed("Configure and activate at start, without a lifecycle manager."),
    "pose_object": _live(
        "Id of the object that ~/pose follows. 0: the one with the lowest id that is located.", **_from_to(0, 2**31 - 1)
    ),
    "publish_tf": _live("Publish a tf frame for each located object: <node's name>/object_<id>."),
    "input_timeout": _live(
        "Seconds without depth or tracked objects after which diagnostics warn while the node is active. 0: never.",
        **_between(0.0, 3600.0),
    ),
}


def declare_parameters(node: Node) -> LocalizerParameters:
    """Declare all parameters and return their values.

    Raises:
        rclpy.exceptions.InvalidParameterValueException: A value given at start is out of range.
    """
    node.add_on_set_parameters_callback(_check)
    declare(node, {field.name: field.default for field in fields(LocalizerParameters)}, _DESCRIPTORS)
    return LocalizerParameters.read(node)


def _check(parameters: Sequence[Parameter]) -> SetParametersResult:
    """Refuse values that the descriptors' ranges cannot refuse."""
    for parameter in parameters:
        choices = _CHOICES.get(parameter.name)
        if choices is not None and parameter.value not in choices:
            reason = f"{parameter.name} is '{parameter.value}', but must be one of {', '.join(choices)}"
            return SetParametersResult(successful=False, reason=reason)
        if isinstance(parameter.value, float) and not math.isfinite(parameter.value):
            return SetParametersResult(successful=False, reason=f"{parameter.name} must be a finite number")
    return SetParametersResult(successful=True)
