"""Streaming: what is remembered of each object, and the one step that a frame takes."""

from __future__ import annotations

from sam_core.streaming.cropped_mask import CroppedMask
from sam_core.streaming.history import Frame, FrameHistory, ObjectOnFrame
from sam_core.streaming.memory import (
    POLICIES,
    DistractorPolicy,
    FifoPolicy,
    MemoryPolicy,
    Observation,
    SamuraiPolicy,
    SelectivePolicy,
    StridedPolicy,
)
from sam_core.streaming.network import TrackingNetwork
from sam_core.streaming.object_memory import ObjectMemory
from sam_core.streaming.postprocessing import MaskPostprocessor
from sam_core.streaming.prompt import Prompt
from sam_core.streaming.result import FrameResult, ObjectInfo, ObjectPhase, ObjectState, Origin, StreamReport
from sam_core.streaming.settings import CHOICES, StreamSettings
from sam_core.streaming.stream import Stream
from sam_core.streaming.track_state import TrackRules, TrackState, TrackStatus
from sam_core.streaming.tracker import Tracker

__all__ = [
    "CHOICES",
    "POLICIES",
    "CroppedMask",
    "DistractorPolicy",
    "FifoPolicy",
    "Frame",
    "FrameHistory",
    "FrameResult",
    "MaskPostprocessor",
    "MemoryPolicy",
    "ObjectInfo",
    "ObjectMemory",
    "ObjectOnFrame",
    "ObjectPhase",
    "ObjectState",
    "Observation",
    "Origin",
    "Prompt",
    "SamuraiPolicy",
    "SelectivePolicy",
    "Stream",
    "StreamReport",
    "StreamSettings",
    "StridedPolicy",
    "TrackRules",
    "TrackState",
    "TrackStatus",
    "Tracker",
    "TrackingNetwork",
]
