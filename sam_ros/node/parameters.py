"""The tracker's parameters: names, defaults, descriptions, ranges, and which of them change live."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from sam_core.streaming import CHOICES, POLICIES, Tracker
from sam_core.streaming.renamed import RENAMED
from sam_ros.conversions.encodings import MAX_PIXELS
from sam_ros.detection.detector_settings import DetectorSettings
from sam_ros.node.concept_parameters import CONCEPT_DESCRIPTORS
from sam_ros.node.track_parameters import TRACK_DESCRIPTORS
from sam_ros.runtime.declaration import declare

__all__ = ["TrackerParameters", "check_parameters", "declare_parameters"]

IMAGE_TRANSPORTS = ("raw", "compressed")
_CHOICES = {
    "image_transport": IMAGE_TRANSPORTS,
    "memory_policy": ("", *POLICIES),
    **{name: ("", *choices) for name, choices in CHOICES.items()},
    **{old: ("", *values) for old, (_, values) in RENAMED.items()},
}
MAX_HELD = 60  # results that can be held back
_LISTS = ("overrides", "detector_overrides")  # of strings


@dataclass(frozen=True)
class TrackerParameters:
    """The values of all parameters at one moment.

    The defaults here are the parameters' defaults; `_DESCRIPTORS` describes each field under its name.
    """

    model: str = "sam2_nano"
    checkpoint: str = ""
    device: str = ""
    dtype: str = ""
    overrides: tuple[str, ...] = ()
    max_objects: int = 16
    history_frames: int = 300
    history_mib: int = 256
    stamp_tolerance: float = 0.1
    memory_policy: str = ""
    non_overlap: str = ""
    mask_refinement: str = ""
    click_augmentation: str = ""
    fill_hole_area: int = 0
    mask_threshold: float = 0.0
    image_transport: str = "raw"
    max_image_pixels: int = MAX_PIXELS
    white_level: float = 0.0
    autostart: bool = False
    overlay_clicks: bool = False
    publish_masks: bool = True
    hold_back_frames: int = 0
    expected_rate: float = 0.0
    image_timeout: float = 2.0
    result_timeout: float = 10.0
    cpu_threads: int = 0
    detector: str = ""
    detector_checkpoint: str = ""
    detector_device: str = ""
    detector_dtype: str = ""
    detector_overrides: tuple[str, ...] = ()
    detector_cpu_threads: int = 1
    detector_queue: int = 4
    detector_text_on_cpu: bool = False
    concept_nms_iou: float = 0.1
    concept_unmatched_iou: float = 0.5
    concept_hot_start: int = 15
    concept_hot_start_unmatched: int = 8
    concept_hot_start_duplicate: int = 8
    concept_recondition_every: int = 16
    concept_recondition_score: float = 0.8
    concept_recondition_iou: float = 0.8
    concept_least_share: float = 0.3
    concept_overlap_iou: float = 0.7
    concept_leave_after: int = 300
    concept_publish_tentative: bool = True
    occluded_after: int = 5
    lost_after: float = 3.0
    found_after: int = 2
    events_kept: int = 100
    objects_folder: str = ""
    autosave: float = 0.0

    @classmethod
    def read(cls, node: Node) -> TrackerParameters:
        """Return the current values of a node that has declared them."""
        values: dict[str, Any] = {field.name: node.get_parameter(field.name).value for field in fields(cls)}
        for name in _LISTS:
            values[name] = tuple(text for text in values[name] if text)
        for old, (new, today) in RENAMED.items():
            value = node.get_parameter(old).value
            values[new] = values[new] or today.get(value, value)
        return cls(**values)

    def detector_settings(self, tracker: Tracker) -> DetectorSettings:
        """Return the detector's part.

        It runs on the tracker's device unless a parameter names another. The detector of the tracker's own model has
        the tracker's checkpoint and dtype unless a parameter says otherwise: then both can use one backbone.
        """
        own = self.detector == self.model
        return DetectorSettings(
            model=self.detector,
            checkpoint=self.detector_checkpoint or (self.checkpoint if own else ""),
            device=self.detector_device or str(tracker.device),
            dtype=self.detector_dtype or (self.dtype if own else ""),
            overrides=self.detector_overrides,
            cpu_threads=self.detector_cpu_threads,
            queue=self.detector_queue,
            text_on_cpu=self.detector_text_on_cpu,
        )


def _fixed(description: str, constraints: str = "", **ranges: Any) -> ParameterDescriptor:
    """Describe a parameter that is set when the node starts and cannot change afterwards."""
    return ParameterDescriptor(description=description, additional_constraints=constraints, read_only=True, **ranges)


def _live(description: str, **ranges: Any) -> ParameterDescriptor:
    """Describe a parameter that may change while the node runs."""
    return ParameterDescriptor(description=description, **ranges)


_DESCRIPTORS: dict[str, ParameterDescriptor] = {
    "model": _fixed("Name of a model configuration (config/models/<name>.yaml), e.g. sam2.1_hiera_tiny."),
    "checkpoint": _fixed(
        "File with the weights (.pt or .safetensors), or a folder of shards as Hugging Face has them. Empty: the "
        "weights that the package ships for this model, else random ones (with a warning)."
    ),
    "device": _fixed("Torch device, e.g. cuda, cuda:1 or cpu. Empty: cuda where there is one, else cpu."),
    "dtype": _fixed("Number type of the model, e.g. float32. Empty: bfloat16 where the device is fast at it."),
    "overrides": _fixed("Changes to the model configuration in Hydra's syntax, e.g. ['model.image_size=512']."),
    "max_objects": _fixed(
        "Most objects tracked at once; memory for them is set aside when the node is configured.",
        integer_range=[IntegerRange(from_value=1, to_value=256)],
    ),
    "history_frames": _fixed(
        "Newest images that a prompt may name by their stamp. Their features, the objects' masks and, with a detector, "
        "the images themselves are kept, as far as history_mib allows. 1: the newest alone.",
        integer_range=[IntegerRange(from_value=1, to_value=1000)],
    ),
    "history_mib": _fixed(
        "Most MiB of the model's device that these images may take; fewer are kept where they do not fit. An "
        "image takes 8 MiB with a SAM 2 model at 1024 px in bfloat16. The diagnostics say how many fit.",
        integer_range=[IntegerRange(from_value=1, to_value=65536)],
    ),
    "stamp_tolerance": _fixed(
        "Seconds by which the stamp of a prompt may differ from that of a processed image. The nearest one is meant; "
        "an exact match goes before.",
        floating_point_range=[FloatingPointRange(from_value=0.0, to_value=10.0)],
    ),
    "memory_policy": _fixed(
        "Which images enter an object's memory. fifo: the last ones, as SAM 2 was published. strided: every third one. "
        "selective: the newest in which the object was surely seen, as in SAM 3's memory selection. "
        "samurai: as selective, and of the network's masks the one that fits the object's motion is taken. "
        "distractor: every fifth, and those that show a look-alike beside the object (DAM4SAM). "
        "Empty: what the model's configuration says, strided for sam2_nano, else fifo.",
        "empty or one of " + ", ".join(POLICIES),
    ),
    "non_overlap": _fixed(
        "How overlapping masks are resolved. none: they are published as they are, as in SAM 2. highest_score: each "
        "pixel goes to the highest logit. color_histogram: pixels go to the object whose colours, when it was "
        "prompted, are like theirs, where that is clear; an object that is left with nothing counts as absent; not for "
        "a thing and a part of it. Empty: what the model's configuration says, color_histogram for sam2_nano, else "
        "none.",
        "empty or one of " + ", ".join(CHOICES["non_overlap"]),
    ),
    "mask_refinement": _fixed(
        "How masks at the image's size come from the network's coarse ones. none: by interpolation, as in SAM 2. "
        "guided_filter: their edges are moved by a few pixels to those of the image. Empty: what the model's "
        "configuration says, guided_filter for sam2_nano, else none.",
        "empty or one of " + ", ".join(CHOICES["mask_refinement"]),
    ),
    "click_augmentation": _fixed(
        "How clicks that begin an object are answered. none: from the image, as in SAM 2. views: as the mean over the "
        "image, its mirror image and a magnified part, in the time of two more images. Empty: what the model's "
        "configuration says, views for sam2_nano, else none.",
        "empty or one of " + ", ".join(CHOICES["click_augmentation"]),
    ),
    "fill_hole_area": _fixed(
        "Holes of masks up to this many pixels of the network's mask (a quarter of its input's side) are filled. "
        "Meta's builder sets 8. 0: none.",
        integer_range=[IntegerRange(from_value=0, to_value=10000)],
    ),
    **{
        old: _fixed(f"Former name of {new}; will be removed.", "empty or one of " + ", ".join(values))
        for old, (new, values) in RENAMED.items()
    },
    "mask_threshold": _live(
        "A pixel belongs to the object where the mask's logit is above this; 0 is probability one half.",
        floating_point_range=[FloatingPointRange(from_value=-32.0, to_value=32.0)],
    ),
    "image_transport": _fixed(
        "raw: sensor_msgs/Image on `image`. compressed: sensor_msgs/CompressedImage on `image/compressed`.",
        "one of " + ", ".join(IMAGE_TRANSPORTS),
    ),
    "max_image_pixels": _fixed(
        "Images of more pixels are dropped before they are decoded: a small file can hold a huge image.",
        integer_range=[IntegerRange(from_value=1, to_value=2**31 - 1)],
    ),
    "white_level": _fixed(
        "Value of 16-bit and floating-point samples that becomes white, while 0 is black: 1023 for a camera of 10 "
        "bits, 4095 for 12, 16383 for 14. 0: 65535 for 16 bits, 1.0 for 32FC1.",
        floating_point_range=[FloatingPointRange(from_value=0.0, to_value=1e9)],
    ),
    "overlay_clicks": _fixed(
        "Take the clicks that rqt_image_view publishes for the overlay (~/overlay_mouse_left, geometry_msgs/Point). "
        "They have no stamp: each is meant for the newest image."
    ),
    "autostart": _fixed("Configure and activate at start, without a lifecycle manager."),
    "publish_masks": _live("Put the cropped masks into ~/objects; without them the message is small."),
    "hold_back_frames": _fixed(
        "Results that are held back: each is published so many processed images later, with its own stamp, and without "
        "objects of followed concepts that were withdrawn meanwhile. SAM 3 was published with 15; a robot that acts on "
        "what it sees takes 0. Each keeps its image, and its objects' masks at the image's size.",
        integer_range=[IntegerRange(from_value=0, to_value=MAX_HELD)],
    ),
    "expected_rate": _live(
        "Rate of images and of results in Hz; diagnostics warn below 80 % of it. 0: no expectation.",
        floating_point_range=[FloatingPointRange(from_value=0.0, to_value=1000.0)],
    ),
    "image_timeout": _live(
        "Seconds without an image after which diagnostics warn while the node is active. 0: never.",
        floating_point_range=[FloatingPointRange(from_value=0.0, to_value=3600.0)],
    ),
    "result_timeout": _live(
        "Seconds that one image, prompt or other command may take until diagnostics report an error; three times the "
        "model's own time where that is longer. 0: as long as it likes.",
        floating_point_range=[FloatingPointRange(from_value=0.0, to_value=3600.0)],
    ),
    "cpu_threads": _fixed(
        "Threads that torch uses on the CPU. 0: torch's own choice.",
        integer_range=[IntegerRange(from_value=0, to_value=1024)],
    ),
    "detector": _fixed(
        "Name of a concept detector (config/models/<name>.yaml), e.g. sam3, for ~/detect_concept. It is loaded when "
        "the node is configured; ~/unload_detector and ~/load_detector free its memory and take it again. Empty: none."
    ),
    "detector_checkpoint": _fixed(
        "File with the detector's weights. Empty: the tracker's file if both are the same model, which then share one "
        "backbone; else those that the package ships, else random ones (with a warning)."
    ),
    "detector_device": _fixed("Torch device of the detector. Empty: the tracker's."),
    "detector_dtype": _fixed("Number type of the detector. Empty: bfloat16 where the device is fast at it."),
    "detector_overrides": _fixed("Changes to the detector's configuration in Hydra's syntax."),
    "detector_cpu_threads": _fixed(
        "Threads that torch uses on the CPU for the detector. 0: torch's own choice, at the tracker's expense.",
        integer_range=[IntegerRange(from_value=0, to_value=1024)],
    ),
    "detector_queue": _fixed(
        "Most detections that wait while one runs; further calls are refused.",
        integer_range=[IntegerRange(from_value=0, to_value=1000)],
    ),
    "detector_text_on_cpu": _fixed(
        "Keep the detector's text encoder, two fifths of its weights, on the CPU. A new phrase takes longer there; "
        "what it means is kept on the device."
    ),
    **CONCEPT_DESCRIPTORS,
    **TRACK_DESCRIPTORS,
}


def declare_parameters(node: Node) -> TrackerParameters:
    """Declare all parameters of the tracker and return their values.

    Raises:
        rclpy.exceptions.InvalidParameterValueException: A value given at start is out of range.
    """
    node.add_on_set_parameters_callback(check_parameters)
    # An empty list has no type in rclpy; [""] is a list of strings that says nothing, and read() takes it so.
    defaults = {field.name: [""] if field.name in _LISTS else field.default for field in fields(TrackerParameters)}
    declare(node, defaults, _DESCRIPTORS)
    for old, (new, today) in RENAMED.items():
        value = node.declare_parameter(old, "", _DESCRIPTORS[old]).value
        if value:
            node.get_logger().warning(f"{old}: {value} is now called {new}: {today[value]}; the old name will go")
    return TrackerParameters.read(node)


def check_parameters(parameters: Sequence[Parameter]) -> SetParametersResult:
    """Refuse values that the descriptors' ranges cannot refuse."""
    for parameter in parameters:
        choices = _CHOICES.get(parameter.name)
        if choices is not None and parameter.value not in choices:
            known = ", ".join(choice or "''" for choice in choices)
            reason = f"{parameter.name} is '{parameter.value}', but must be one of {known}"
            return SetParametersResult(successful=False, reason=reason)
        if isinstance(parameter.value, float) and not math.isfinite(parameter.value):
            return SetParametersResult(successful=False, reason=f"{parameter.name} must be a finite number")
    return SetParametersResult(successful=True)
