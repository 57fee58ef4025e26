"""SAM 1: the network of "Segment Anything", for still images."""

from __future__ import annotations

from sam_core.sam1.model import Sam1

__all__ = ["Sam1"]
