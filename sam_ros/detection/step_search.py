"""Search a frame while it is tracked, where detector and tracker share a trunk: the inference thread's part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_core.association import (
    Association,
    ConceptDetections,
    ConceptResult,
    ConceptTracker,
    Detect,
    FollowedConcept,
    FrameDetector,
)
from sam_core.sam3 import ConceptDetector
from sam_core.streaming import Frame
from sam_ros.detection.counts import DetectionCounts
from sam_ros.detection.detector_thread import DetectorThread
from sam_ros.detection.redetector import Redetector
from sam_ros.detection.search import SearchError

__all__ = ["StepSearch"]


class StepSearch:
    """Search frames in their own step for the followed concepts that count frames (a `session.Drive`).

    The result of the frame has what was found on it. The detector is borrowed from its thread and never waited for:
    where it is at work, the concepts stay due, and the next frame is searched.

    Args:
        thread: Owns the detector.
        redetector: Knows what is followed.
        counts: Take in what was detected, and how long it took.
    """

    def __init__(self, thread: DetectorThread, redetector: Redetector, counts: DetectionCounts) -> None:
        self._thread = thread
        self._redetector = redetector
        self._counts = counts

    def __call__(self, tracker: ConceptTracker, image: NDArray[np.uint8], stamp: int, source: Any) -> ConceptResult:
        """Track all objects on the next image (see `ConceptTracker.step`), and search it for what is due."""
        if not self._redetector.step_is_due:
            return tracker.step(image, stamp, source)
        with self._thread.lend() as detector:
            concepts = () if detector is None else self._redetector.take_due_in_step()
            detect = None if detector is None else self._detect(detector, concepts)
            try:
                outcome = tracker.step(image, stamp, source, concepts=concepts, detect=detect)
            except Exception:
                self._redetector.lost(frozenset(concept.key for concept in concepts))  # the next frame is searched
                raise
            if concepts:
                self._take_in(concepts, outcome)
        return outcome

    def _detect(self, detector: ConceptDetector, concepts: Sequence[FollowedConcept]) -> Detect:
        def detect(frame: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections | None]:
            search = FrameDetector(detector, min(concept.rules.score_threshold for concept in concepts))
            for concept, found in zip(concepts, search(frame, phrases), strict=True):
                yield found if self._redetector.follows(concept) else None

        return detect

    def _take_in(self, concepts: Sequence[FollowedConcept], outcome: ConceptResult) -> None:
        """Count the search, and tell of the objects that it found."""
        if outcome.search_failed and not self._thread.stopping:
            self._redetector.failed(SearchError("; ".join(outcome.problems)))
            return
        self._counts.dropped += len(concepts) - len(outcome.searched)
        if not outcome.searched:
            return
        self._counts.detected(outcome.detection_seconds)
        self._counts.associated(outcome.association_seconds)
        for problem in outcome.problems:
            self._redetector.refuse(problem)
        for object_ids, association in (
            (outcome.born, Association.NEW),
            (outcome.reidentified, Association.REIDENTIFIED),
        ):
            for object_id in object_ids:
                key = outcome.tracks[object_id].concept
                phrase = next(concept.phrase for concept in concepts if concept.key == key)
                self._redetector.tell(phrase, object_id, association, outcome.result.stamp)
