"""Segment and track anything in a live camera and in images: SAM 1, SAM 2, SAM 2.1 and SAM 3, without ROS."""

from __future__ import annotations

from sam_core.automatic_masks import AutomaticMasks, FoundMask
from sam_core.build import build_predictor, build_tracker, model_names, predictor_names
from sam_core.errors import (
    CapacityError,
    CheckpointError,
    ImageError,
    NoFrameError,
    PromptError,
    StampError,
    UnknownObjectError,
)
from sam_core.still_images import EncodedImage, ImageMasks, ImagePredictor
from sam_core.streaming import FrameResult, ObjectInfo, ObjectState, Prompt, Stream, StreamReport, Tracker

__all__ = [
    "AutomaticMasks",
    "CapacityError",
    "CheckpointError",
    "EncodedImage",
    "FoundMask",
    "FrameResult",
    "ImageError",
    "ImageMasks",
    "ImagePredictor",
    "NoFrameError",
    "ObjectInfo",
    "ObjectState",
    "Prompt",
    "PromptError",
    "StampError",
    "Stream",
    "StreamReport",
    "Tracker",
    "UnknownObjectError",
    "build_predictor",
    "build_tracker",
    "model_names",
    "predictor_names",
]
