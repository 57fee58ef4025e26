"""Streaming: what is remembered of each object, and the one step that a frame takes."""

from __future__ import annotations

from sam_core.streaming.policy import POLICIES, FifoPolicy, MemoryPolicy, StridedPolicy, VisibleFramesPolicy
from sam_core.streaming.prompt import Prompt
from sam_core.streaming.result import FrameResult, ObjectInfo, ObjectState, StreamReport
from sam_core.streaming.settings import CLICKS, EDGES, OVERLAPS, StreamSettings
from sam_core.streaming.stream import Stream
from sam_core.streaming.tracker import Tracker

__all__ = [
    "CLICKS",
    "EDGES",
    "OVERLAPS",
    "POLICIES",
    "FifoPolicy",
    "FrameResult",
    "MemoryPolicy",
    "ObjectInfo",
    "ObjectState",
    "Prompt",
    "Stream",
    "StreamReport",
    "StreamSettings",
    "StridedPolicy",
    "Tracker",
    "VisibleFramesPolicy",
]
