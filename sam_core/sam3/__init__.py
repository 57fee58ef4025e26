"""SAM 3's concept detector: every instance of what a phrase or an exemplar names, on one image."""

from __future__ import annotations

from sam_core.errors import CheckpointError, ImageError
from sam_core.sam3.build import build_detector, build_network, detector_names
from sam_core.sam3.checkpoint import LoadReport
from sam_core.sam3.detections import Detections
from sam_core.sam3.detector import ConceptDetector, ImageState
from sam_core.sam3.errors import ExemplarError, PhraseError
from sam_core.sam3.exemplars import Exemplars
from sam_core.sam3.network import ConceptNetwork

__all__ = [
    "CheckpointError",
    "ConceptDetector",
    "ConceptNetwork",
    "Detections",
    "ExemplarError",
    "Exemplars",
    "ImageError",
    "ImageState",
    "LoadReport",
    "PhraseError",
    "build_detector",
    "build_network",
    "detector_names",
]
