"""Periodic detection of followed concepts, in the detector thread while no call waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rclpy.impl.rcutils_logger import RcutilsLogger

from sam_core.concepts import FollowedConcept, Following, SeenFrame, Sightings, Verdict, concept_key
from sam_core.sam3 import ConceptDetector
from sam_ros.conversions.stamps import format_stamp
from sam_ros.detection.findings import Finding, Submit, find, track
from sam_ros.detection.search import Search, SearchError

__all__ = ["Redetector"]


class Redetector:
    """Detect the concepts that are due (a `detector_thread.Background`).

    Args:
        sightings: The images to search, and what was seen on them.
        submit: Runs a command in the inference thread.
        note: Called with the time that a detection took, s.
        refuse: Counts and logs why an instance is not tracked.
        logger: Where new objects are told.
    """

    def __init__(
        self,
        sightings: Sightings,
        submit: Submit,
        *,
        note: Callable[[float], None],
        refuse: Callable[[Exception], str],
        logger: RcutilsLogger,
    ) -> None:
        self._sightings = sightings
        self._submit = submit
        self._note = note
        self._refuse = refuse
        self._logger = logger
        self._following = Following()
        self._searched: dict[str, SeenFrame] = {}  # key of a concept -> the image in which it was looked for last

    @property
    def phrases(self) -> tuple[str, ...]:
        """What is followed."""
        return self._following.phrases

    def follow(self, concept: FollowedConcept) -> None:
        """Follow a concept from now on, or with other settings."""
        self._searched.pop(concept.key, None)
        self._following.follow(concept)

    def unfollow(self, phrase: str) -> bool:
        """Follow a concept, or with an empty phrase all of them, no longer; return whether any was followed."""
        return self._following.unfollow(phrase) if concept_key(phrase) else self._following.unfollow_all()

    def lost(self, keys: frozenset[str]) -> bool:
        """Look for concepts at once, because one of their objects was lost; return whether any of them is followed."""
        return self._following.lost(keys)

    def begin(self) -> bool:
        """Look for all concepts at once, because there is a first image; return whether there are any."""
        return self._following.lost(map(concept_key, self._following.phrases))

    def wait(self) -> float | None:
        """Return the seconds until a concept is due; None where nothing is followed."""
        return self._following.wait()

    def run(self, detector: ConceptDetector) -> None:
        """Search the newest image for the concepts that are due, all in one detection."""
        frame = self._sightings.newest
        # An image is searched for a concept once: while no new one comes there is nothing to do.
        due = [concept for concept in self._following.take_due() if self._searched.get(concept.key) is not frame]
        if frame is None or not due:
            return
        self._searched.update({concept.key: frame for concept in due})
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
            decided, problems = track(self._submit, self._sightings, frame, chosen, concept.rules)
            self._tell(concept, frame, decided, problems)

    def _tell(
        self, concept: FollowedConcept, frame: SeenFrame, findings: Sequence[Finding], problems: Sequence[str]
    ) -> None:
        for problem in problems:
            self._refuse(SearchError(f"following {concept.phrase!r}: {problem}"))
        for finding in findings:
            decision = finding.decision
            if decision is not None and decision.verdict in (Verdict.NEW, Verdict.FOUND_AGAIN):
                self._logger.info(
                    f"following {concept.phrase!r}: object {decision.object_id} is {decision.verdict.value}, "
                    f"in the image of {format_stamp(frame.stamp)}"
                )
