"""Findings: the instances that a search finds in an image, and the tracked objects that they are matched to.

`find` and `track` run in the detector thread. What touches the stream is handed to the inference thread instance by
instance, so that frames are tracked in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from sam_core import StampError
from sam_core.association import ConceptRules, ConceptTracker, Decision, Instance, hand_over
from sam_core.sam3 import ConceptDetector
from sam_core.sam3.detector import EXEMPLARS_ALONE
from sam_core.sam3.phrases import clean_phrase
from sam_core.streaming import CroppedMask, Frame
from sam_ros.conversions.stamps import format_stamp
from sam_ros.detection.search import Search, SearchError
from sam_ros.tracking.session import Session

__all__ = ["Finding", "Outcome", "Submit", "find", "track"]

LARGEST_FINDINGS = 256 * 2**20  # bytes of the masks of one search, cropped

Submit: TypeAlias = "Callable[[Callable[[Session], Any]], Future[Any]]"


@dataclass(frozen=True, eq=False)
class Finding:
    """An instance that was found.

    Attributes:
        instance: Phrase, score and mask.
        detected_box: (x_min, y_min, x_max, y_max) in px as the network regressed it.
        decision: What it is to the tracking; None where that was not asked, or failed.
    """

    instance: Instance
    detected_box: tuple[float, float, float, float]
    decision: Decision | None = None

    @property
    def object_id(self) -> int:
        """The object that it is tracked as; 0 where it is not."""
        return (self.decision.object_id if self.decision is not None else None) or 0


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a search.

    Attributes:
        frame: The image that was searched.
        findings: In the order of the phrases, best first.
        seconds: Time of the detection itself, s.
        waited: Time from the call until its turn came, s.
        problems: Why instances are not tracked that should be, in full sentences.
    """

    frame: Frame
    findings: tuple[Finding, ...]
    seconds: float
    waited: float
    problems: tuple[str, ...] = ()


def find(detector: ConceptDetector, frame: Frame, search: Search) -> tuple[list[Finding], float]:
    """Search an image.

    Masks are cropped as they are found, so that there are never many of the image's size.

    Returns:
        The findings, and how long it took in s.

    Raises:
        SearchError: The masks take more than `LARGEST_FINDINGS`.
    """
    started = time.perf_counter()
    assert frame.picture is not None  # `frame_for` gives frames with pictures alone
    trunk = frame.features.trunk if detector.shares_trunk else None  # of the newest frame; others are encoded again
    state = detector.encode_image(frame.picture) if trunk is None else detector.encode_trunk(trunk, frame.size)
    findings: list[Finding] = []
    size = 0
    asked = [clean_phrase(phrase) for phrase in search.phrases]
    detections = detector.detect_each(
        state, asked, search.exemplars, threshold=search.threshold, max_instances=search.max_instances
    )
    for phrase, found in zip(search.phrases or (EXEMPLARS_ALONE,), detections, strict=True):
        scores, boxes = found.scores.tolist(), found.boxes.tolist()
        masks = (mask for part in found.masks_in_parts() for mask in part.cpu().numpy())
        for score, (x_min, y_min, x_max, y_max), mask in zip(scores, boxes, masks, strict=True):
            cropped = CroppedMask.of(mask)
            size += cropped.pixels.nbytes
            if size > LARGEST_FINDINGS:
                raise SearchError(
                    f"the masks found take more than {LARGEST_FINDINGS // 2**20} MiB: raise the score threshold, set "
                    "max_instances, or ask for fewer phrases"
                )
            findings.append(Finding(Instance(phrase, score, cropped), (x_min, y_min, x_max, y_max)))
    return findings, time.perf_counter() - started


def track(
    submit: Submit, frame: Frame, phrase: str, findings: Sequence[Finding], rules: ConceptRules, *, counted: bool
) -> tuple[list[Finding], list[str]]:
    """Apply the rules to the findings of a phrase, and let the stream track what is new or was lost, the best first.

    Args:
        submit: Runs a command in the inference thread.
        frame: Where they were found.
        phrase: What was searched for.
        findings: What was found.
        rules: When a finding is a tracked object or a new one.
        counted: Whether the search belongs to a concept that is followed, so that it may withdraw objects; else
            somebody asked for it once, and what it begins stays.

    Returns:
        The findings in their order with what was decided about each, and why some are not tracked.
    """
    instances = [item.instance for item in findings]

    def run(call: Callable[[ConceptTracker], Any]) -> Any:
        return submit(lambda session: call(session.concepts)).result()

    outcome = hand_over(run, frame, phrase, instances, rules, counted=counted)
    problems = dict.fromkeys(_said(problem, frame) for problem in outcome.problems)  # each once, in their order
    decided = [replace(item, decision=one) for item, one in zip(findings, outcome.decisions, strict=True)]
    return decided, list(problems)


def _said(problem: Exception, frame: Frame) -> str:
    if isinstance(problem, StampError):
        return (
            f"the image of {format_stamp(frame.stamp)} cannot be prompted any more: the detection took longer than "
            "the tracker's memory of images reaches back (parameters history_frames and history_mib)"
        )
    return str(problem)
