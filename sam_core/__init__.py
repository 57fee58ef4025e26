"""Segment and track anything in a live camera: SAM 2, SAM 2.1 and SAM 3 in PyTorch, without ROS."""

from __future__ import annotations

from sam_core.build import build_tracker, model_names
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
    "CapacityError",
    "CheckpointError",
    "FrameResult",
    "ImageError",
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
    "build_tracker",
    "model_names",
]
