"""The memory policies, one file each, by the name that a parameter file gives them."""

from __future__ import annotations

from collections.abc import Callable

from sam_core.streaming.memory.policies.distractor import DistractorPolicy
from sam_core.streaming.memory.policies.fifo import FifoPolicy
from sam_core.streaming.memory.policies.samurai import SamuraiPolicy
from sam_core.streaming.memory.policies.selective import SelectivePolicy
from sam_core.streaming.memory.policies.strided import StridedPolicy
from sam_core.streaming.memory.policy import MemoryPolicy

__all__ = ["POLICIES", "DistractorPolicy", "FifoPolicy", "SamuraiPolicy", "SelectivePolicy", "StridedPolicy"]

POLICIES: dict[str, Callable[[], MemoryPolicy]] = {
    "fifo": FifoPolicy,
    "strided": StridedPolicy,
    "selective": SelectivePolicy,
    "samurai": SamuraiPolicy,
    "distractor": DistractorPolicy,
}
