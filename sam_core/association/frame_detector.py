"""Detections in the step of a frame: one pass of the backbone serves tracker and detector, where they share it."""

from __future__ import annotations

from collections.abc import Iterator

from sam_core.association.detections import ConceptDetections
from sam_core.sam3 import ConceptDetector
from sam_core.sam3.phrases import clean_phrase
from sam_core.streaming import Frame


class FrameDetector:
    """Detect phrases on the frame that is being tracked (a `frame_rules.Detect`).

    Where the detector shares the tracker's trunk, it goes on from the trunk's map of the frame; else it encodes the
    camera's image. The stream must `keep_pictures` for either.

    Args:
        detector: the detector.
        threshold: detections at or below this score are not made into masks; the rules may ask for more, 0 … 1.
    """

    def __init__(self, detector: ConceptDetector, threshold: float = 0.5) -> None:
        self._detector = detector
        self._threshold = threshold

    def __call__(self, frame: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections]:
        """Yield the detections of each phrase, in their order."""
        trunk = frame.features.trunk
        if self._detector.shares_trunk and trunk is not None:
            state = self._detector.encode_trunk(trunk, frame.size)
        else:
            if frame.picture is None:
                raise ValueError("the stream keeps no pictures: set keep_pictures")
            state = self._detector.encode_image(frame.picture)
        asked = [clean_phrase(phrase) for phrase in phrases]
        found_each = self._detector.detect_each(state, asked, threshold=self._threshold)
        for phrase, found in zip(phrases, found_each, strict=True):
            yield ConceptDetections(phrase, found.scores, found.mask_logits)
