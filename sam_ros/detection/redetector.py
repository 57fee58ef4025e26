"""Periodic detection of followed concepts, in the detector thread while no call waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger

from sam_core.association import Association, ConceptRules, FollowedConcept, RedetectionSchedule, concept_key
from sam_core.sam3 import ConceptDetector
from sam_core.streaming import Frame, FrameHistory
from sam_ros.conversions.stamps import format_stamp
from sam_ros.detection.counts import DetectionCounts
from sam_ros.detection.findings import Finding, Submit, find, track
from sam_ros.detection.search import MAX_PHRASES, Search, SearchError
from sam_ros.tracking.session import Session

__all__ = ["Redetector"]

QUIET = 5.0  # s between two log lines


class _UnfollowedError(Exception):
    """A concept is not followed any more, or otherwise."""


class Redetector:
    """Know what is followed, and detect the concepts that are due (a `detector_thread.Background`).

    Attributes:
        in_step: Whether concepts that count frames are searched for in the steps of frames (see `StepSearch`). Then
            they alone never begin a search here.

    Args:
        history: Gives the newest frames.
        submit: Runs a command in the inference thread.
        counts: Take in what was detected, and how long it took.
        refuse: Counts and logs why an instance is not tracked.
        logger: Where new objects are told.
    """

    def __init__(
        self,
        history: Callable[[], FrameHistory],
        submit: Submit,
        *,
        counts: DetectionCounts,
        refuse: Callable[[Exception], str],
        logger: RcutilsLogger,
    ) -> None:
        self.in_step = False
        self._history = history
        self._submit = submit
        self._counts = counts
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

    def use(self, change: Callable[[ConceptRules], ConceptRules]) -> None:
        """Change the rules of all concepts, from their next search on."""
        self._schedule.replace_rules(change)

    def frame_came(self) -> bool:
        """Count an image; return whether a concept that counts images is due."""
        return self._schedule.frame_came()

    def lost(self, keys: frozenset[str]) -> bool:
        """Look for concepts at once, because one of their objects was lost; return whether any of them is followed."""
        return self._schedule.lost(keys)

    def begin(self) -> bool:
        """Look for all concepts at once, because there is a first image; return whether there are any."""
        return self._schedule.lost(map(concept_key, self._schedule.phrases))

    def follows(self, concept: FollowedConcept) -> bool:
        """Tell whether a concept is still followed as it was asked for."""
        return self._schedule.follows(concept)

    @property
    def step_is_due(self) -> bool:
        """Whether the next frame is searched in its step."""
        return self.in_step and self._schedule.wait(counts_frames=True) == 0

    def take_due_in_step(self) -> tuple[FollowedConcept, ...]:
        """Return what the frame at work is searched for in its step; it is due again after its number of frames."""
        return self._schedule.take_due(counts_frames=True)

    def wait(self) -> float | None:
        """Return the seconds until a concept is due that is searched for here; None where there is none."""
        return self._schedule.wait(counts_frames=False if self.in_step else None)

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
        threshold = min(concept.rules.score_threshold for concept in due)
        findings, seconds = find(
            detector, frame, Search(tuple(concept.phrase for concept in due), None, threshold, None, None)
        )
        self._counts.detected(seconds)
        for concept in due:
            if not self._schedule.follows(concept):  # unfollowed, or followed otherwise, while the detection ran
                self._counts.dropped += 1
                continue
            chosen = [item for item in findings if item.instance.phrase == concept.phrase]
            began = time.perf_counter()
            try:
                submit = self._while_followed(concept)
                decided, problems = track(submit, frame, concept.phrase, chosen, concept.rules, counted=True)
            except _UnfollowedError:
                self._counts.dropped += 1
                continue
            self._counts.associated(time.perf_counter() - began)
            self._tell(concept, frame, decided, problems)

    def _while_followed(self, concept: FollowedConcept) -> Submit:
        """Return a `Submit` whose commands look, when their turn comes, whether the concept is still followed."""

        def submit(command: Callable[[Session], Any]) -> Future[Any]:
            def checked(session: Session) -> Any:
                if not self._schedule.follows(concept):
                    raise _UnfollowedError
                return command(session)

            return self._submit(checked)

        return submit

    def failed(self, error: Exception) -> None:
        """Count a detection that failed; it is tried again when the concepts are due again."""
        self._counts.failed += 1
        self._logger.error(
            f"a detection of followed concepts failed: {type(error).__name__}: {error}", throttle_duration_sec=QUIET
        )

    def _tell(
        self, concept: FollowedConcept, frame: Frame, findings: Sequence[Finding], problems: Sequence[str]
    ) -> None:
        for problem in problems:
            self.refuse(f"following {concept.phrase!r}: {problem}")
        for object_id, decision in {item.object_id: item.decision for item in findings if item.object_id}.items():
            if decision is not None and decision.association in (Association.NEW, Association.REIDENTIFIED):
                self.tell(concept.phrase, object_id, decision.association, frame.stamp)

    def refuse(self, problem: str) -> None:
        """Count and log why an instance is not tracked."""
        self._refuse(SearchError(problem))

    def tell(self, phrase: str, object_id: int, association: Association, stamp: int) -> None:
        """Log that a search found an object in the image of a stamp."""
        self._logger.info(
            f"following {phrase!r}: object {object_id} is {association.value}, in the image of {format_stamp(stamp)}"
        )
