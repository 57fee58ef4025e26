"""The memory bank, what it holds of each object, and the policies that decide on it."""

from __future__ import annotations

from sam_core.streaming.memory.bank import Memory, MemoryBank, MemoryBatches, MemoryIndices
from sam_core.streaming.memory.index import MemoryIndex, Slots, SlotTable
from sam_core.streaming.memory.policies import (
    POLICIES,
    DistractorPolicy,
    FifoPolicy,
    SamuraiPolicy,
    SelectivePolicy,
    StridedPolicy,
)
from sam_core.streaming.memory.policy import Examination, MemoryPolicy, Observation

__all__ = [
    "POLICIES",
    "DistractorPolicy",
    "Examination",
    "FifoPolicy",
    "Memory",
    "MemoryBank",
    "MemoryBatches",
    "MemoryIndex",
    "MemoryIndices",
    "MemoryPolicy",
    "Observation",
    "SamuraiPolicy",
    "SelectivePolicy",
    "SlotTable",
    "Slots",
    "StridedPolicy",
]
