"""Periodic detection of followed concepts, in the detector thread while no call waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rclpy.impl.rcutils_logger import RcutilsLogger

from sam_core.association import Association, FollowedConcept, RedetectionSchedule, TrackHistory, concept_key
from sam_core.sam3 import ConceptDetector
from sam_core.streaming import Frame, FrameHistory
from sam_ros.conversions.stamps import format_stamp
from sam_ros.detection.findings import Finding, Submit, find, track
from sam_ros.detection.search import MAX_PHRASES, Search, SearchError

__all__ = ["Redetector"]


class Redetector:
    """Detect the concepts that are due (a `detector_thread.Background`).

    Args:
        history: Gives the newest frames.
        tracks: Facts about the tracked objects.
        submit: Runs a command in the inference thread.
        note: Called with the time that a detection took, s.
        refuse: Counts and logs why an instance is not tracked.
        logger: Where new objects are told.
    """

    def __init__(
        self,
        history: Callable[[], FrameHistory],
        tracks: TrackHistory,
        submit: Submit,
        *,
        note: Callable[[float], None],
        refuse: Callable[[Exception], str],
        logger: RcutilsLogger,
    ) -> None:
        self._history = history
        self._tracks = tracks
        self._submit = submit
        self._note = note
        self._refuse = refuse
        self._logger = logger
        self._schedule = RedetectionSchedule()
        self._searched: dict[str, int] = {}  # key of a concept -> number of the frame that was searched for it last

    @property
    def phrases(self) -> tuple[str, ...]:
        """What is followed."""
        return self._schedule.phrases

    def follow(self, concept: FollowedConcept) -> None:
        """Follow a concept from now on, or with other settings.

        Raises:
            SearchError: Too many concepts are followed already.
        """
        followed = {concept_key(phrase) for phrase in self.phrases}
        if concept.key not in followed and len(followed) >= MAX_PHRASES:
            raise SearchError(f"{len(followed)} concepts are followed already, which is the most: unfollow one first")
        self._searched.pop(concept.key, None)
        self._schedule.follow(concept)

    def unfollow(self, phrase: str) -> bool:
        """Follow a concept, or with an empty phrase all of them, no longer; return whether any was followed."""
        key = concept_key(phrase)
        if not key:
            self._searched.clear()
            return self._schedule.unfollow_all()
        self._searched.pop(key, None)
        return self._schedule.unfollow(phrase)

    def lost(self, keys: frozenset[str]) -> bool:
        """Look for concepts at once, because one of their objects was lost; return whether any of them is followed."""
        return self._schedule.lost(keys)

    def begin(self) -> bool:
        """Look for all concepts at once, because there is a first image; return whether there are any."""
        return self._schedule.lost(map(concept_key, self._schedule.phrases))

    def wait(self) -> float | None:
        """Return the seconds until a concept is due; None where nothing is followed."""
        return self._schedule.wait()

    def run(self, detector: ConceptDetector) -> None:
        """Search the newest image for the concepts that are due, all in one detection."""
        due, frame = self._schedule.take_due(), self._history().with_pictures().newest
        if frame is None:
            return
        # An image is searched for a concept once: while no new one comes there is nothing to do.
        due = tuple(concept for concept in due if self._searched.get(concept.key) != frame.number)
        if not due:
            return
        self._searched.update({concept.key: frame.number for concept in due})
        threshold = min(concept.score_threshold for concept in due)
        findings, seconds = find(
            detector, frame, Search(tuple(concept.phrase for concept in due), None, threshold, None, None)
        )
        self._note(seconds)
        for concept in due:
            chosen = [
                item
                for item in findings
                if item.instance.phrase == concept.phrase and item.instance.score > concept.score_threshold
            ]
            decided, problems = track(self._submit, self._tracks, frame, chosen, concept.rules)
            self._tell(concept, frame, decided, problems)

    def _tell(
        self, concept: FollowedConcept, frame: Frame, findings: Sequence[Finding], problems: Sequence[str]
    ) -> None:
        for problem in problems:
            self._refuse(SearchError(f"following {concept.phrase!r}: {problem}"))
        for finding in findings:
            decision = finding.decision
            if decision is not None and decision.association in (Association.NEW, Association.REIDENTIFIED):
                self._logger.info(
                    f"following {concept.phrase!r}: object {decision.object_id} is {decision.association.value}, "
                    f"in the image of {format_stamp(frame.stamp)}"
                )
