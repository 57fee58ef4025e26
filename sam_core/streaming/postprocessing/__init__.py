"""Mask postprocessors: what changes the masks that results show, and never what is remembered."""

from __future__ import annotations

from sam_core.streaming.postprocessing.base import MaskPostprocessor, ObjectMasks
from sam_core.streaming.postprocessing.color_histogram import ColorHistogramOverlap
from sam_core.streaming.postprocessing.fill_holes import FillHoles, fill_holes
from sam_core.streaming.postprocessing.guided_filter import GuidedFilterRefinement
from sam_core.streaming.postprocessing.highest_score import HighestScoreOverlap

__all__ = [
    "REFERENCE_SHAPES",
    "ColorHistogramOverlap",
    "FillHoles",
    "GuidedFilterRefinement",
    "HighestScoreOverlap",
    "MaskPostprocessor",
    "ObjectMasks",
    "fill_holes",
]

# What a saved object may have: name and shape, whatever the stream that it came from was set to.
REFERENCE_SHAPES: dict[str, tuple[int, ...]] = dict(
    kind.saved_reference
    for kind in (FillHoles, ColorHistogramOverlap, GuidedFilterRefinement, HighestScoreOverlap)
    if kind.saved_reference is not None
)
