"""SAM 2 and SAM 2.1: networks without state."""

from __future__ import annotations

from sam_core.sam2.features import ImageFeatures, MemoryTokens, PromptBatch, SamOutput
from sam_core.sam2.model import ABSENT_LOGIT, Sam2

__all__ = ["ABSENT_LOGIT", "ImageFeatures", "MemoryTokens", "PromptBatch", "Sam2", "SamOutput"]
