"""EdgeTAM: SAM 2 for small computers, with a convolutional trunk and memories of a few tokens."""

from __future__ import annotations

from sam_core.edgetam.model import EdgeTam
from sam_core.edgetam.perceiver import SpatialPerceiver
from sam_core.edgetam.repvit import RepVit

__all__ = ["EdgeTam", "RepVit", "SpatialPerceiver"]
