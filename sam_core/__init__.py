"""Segment and track anything in a live camera and in images: SAM 1, SAM 2, SAM 2.1 and SAM 3, without ROS."""

from __future__ import annotations

from sam_core.automatic_masks import AutomaticMasks, FoundMask
from sam_core.build import build_predictor, build_tracker, model_names, predictor_names
from sam_core.errors import (
    CapacityError,
    CheckpointError,
    ImageError,
    NoFrameError,
    ObjectIdError,
    PromptError,
    SavedObjectError,
    StampError,
    UnknownObjectError,
)
from sam_core.still_images import EncodedImage, ImageMasks, ImagePredictor
from sam_core.streaming import (
    FrameResult,
    ObjectInfo,
    ObjectState,
    Prompt,
    Stream,
    StreamReport,
    Tracker,
    TrackRules,
    TrackState,
)

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
    "ObjectIdError",
    "ObjectInfo",
    "ObjectState",
    "Prompt",
    "PromptError",
    "SavedObjectError",
    "StampError",
    "Stream",
    "StreamReport",
    "TrackRules",
    "TrackState",
    "Tracker",
    "UnknownObjectError",
    "build_predictor",
    "build_tracker",
    "model_names",
    "predictor_names",
]
