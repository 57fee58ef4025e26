"""One detection: from a request to a search, from an image to findings, from findings to tracked objects.

`find` and `track` run in the detector thread. What touches the stream is handed to the inference thread instance by
instance, so that frames are tracked in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TypeAlias

from sam_msgs.srv import DetectConcept

from sam_core import CapacityError, NoFrameError, PromptError, StampError
from sam_core.concepts import CroppedMask, Decision, Instance, MatchRules, SeenFrame, Sightings, hand_over
from sam_core.sam3 import ConceptDetector, Exemplars
from sam_core.sam3.tokenizer import Tokenizer
from sam_ros.errors import RefusedError
from sam_ros.session import Session, format_stamp

__all__ = ["Finding", "Outcome", "Search", "SearchError", "check_exemplars", "cut_of", "find", "frame_for", "search_of"]
__all__ += ["track"]

Submit: TypeAlias = "Callable[[Callable[[Session], Decision]], Future[Decision]]"

NEWEST = 0  # a request's stamp that means: the newest image


class SearchError(RefusedError):
    """Say why a detection makes no sense, or cannot be done on this image."""


@dataclass(frozen=True, eq=False)
class Search:
    """What to look for.

    Attributes:
        phrases: Short noun phrases; none to search by exemplars alone.
        exemplars: Boxes that show what is meant, and what is not; None without any.
        threshold: Instances must score above it, 0 to 1.
        max_instances: Most instances for each phrase; None for no limit.
        rules: When an instance is a tracked object or a new one; None where nothing is to be tracked.
    """

    phrases: tuple[str, ...]
    exemplars: Exemplars | None
    threshold: float
    max_instances: int | None
    rules: MatchRules | None


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

    frame: SeenFrame
    findings: tuple[Finding, ...]
    seconds: float
    waited: float
    problems: tuple[str, ...] = ()


def search_of(request: DetectConcept.Request, tokenizer: Tokenizer) -> Search:
    """Return what a service request asks for.

    Args:
        request: The request.
        tokenizer: The detector's: it knows what is left of a phrase.

    Raises:
        SearchError: A part of the request makes no sense.
    """
    if not request.phrases and not request.exemplars:
        raise SearchError("there is nothing to search for: give a phrase, or boxes around examples")
    for number, phrase in enumerate(request.phrases, 1):
        check_phrase(phrase, tokenizer, f"phrase {number}" if len(request.phrases) > 1 else "the phrase")
    if not 0.0 <= request.score_threshold <= 1.0:
        raise SearchError(f"the score threshold must be within [0, 1], not {request.score_threshold:g}")
    if request.action not in (DetectConcept.Request.REPORT, DetectConcept.Request.TRACK):
        raise SearchError(f"an action is REPORT (0) or TRACK (1), not {request.action}")
    try:
        rules = MatchRules(request.match_iou, new_score=0.0)
    except ValueError as error:
        raise SearchError(str(error)) from error
    boxes = request.exemplars
    return Search(
        phrases=tuple(request.phrases),
        exemplars=Exemplars(
            boxes=[[box.x_min, box.y_min, box.x_max, box.y_max] for box in boxes],
            box_labels=[box.label for box in boxes],
        )
        if boxes
        else None,
        threshold=request.score_threshold,
        max_instances=request.max_instances or None,
        rules=rules if request.action == DetectConcept.Request.TRACK else None,
    )


def check_phrase(phrase: str, tokenizer: Tokenizer, name: str = "the phrase") -> None:
    """Refuse a phrase that names nothing.

    Raises:
        SearchError: It is empty.
    """
    if not tokenizer(phrase).text:
        raise SearchError(f"{name} is empty: name a concept, for instance 'yellow cup'")


def cut_of(phrase: str, tokenizer: Tokenizer) -> str:
    """Say what of a phrase does not fit the detector's context; empty where all of it fits."""
    cut = tokenizer(phrase).cut
    return cut and f"the phrase is longer than the detector's {tokenizer.context_length} tokens; ignored is '{cut}'"


def frame_for(sightings: Sightings, stamp: int, or_newest: bool) -> SeenFrame:
    """Return the image to search.

    Args:
        sightings: The images at hand.
        stamp: Stamp of the image in ns, or NEWEST.
        or_newest: Whether the newest image will do where that one is not at hand.

    Raises:
        NoFrameError: No image was processed yet.
        SearchError: The image is not at hand.
    """
    newest, oldest = sightings.newest, sightings.oldest
    if newest is None or oldest is None:
        raise NoFrameError("no image was processed yet since the detector was loaded: there is nothing to search")
    frame = newest if stamp == NEWEST else sightings.with_stamp(stamp)
    if frame is None and not or_newest:
        raise SearchError(
            f"the image of {format_stamp(stamp)} is not at hand: the oldest is of {format_stamp(oldest.stamp)}, the "
            f"newest of {format_stamp(newest.stamp)}; leave the stamp zero for the newest, or set or_newest"
        )
    return frame or newest


def check_exemplars(search: Search, frame: SeenFrame) -> None:
    """Refuse exemplars that do not fit the image.

    Raises:
        SearchError: A box is outside the image, empty, or has an unknown label.
    """
    if search.exemplars is None:
        return
    try:
        search.exemplars.normalised(frame.image_size)
    except ValueError as error:
        raise SearchError(str(error)) from error


def find(detector: ConceptDetector, frame: SeenFrame, search: Search) -> tuple[list[Finding], float]:
    """Search an image; return the findings, and how long it took in s."""
    started = time.perf_counter()
    state = detector.encode_image(frame.image)
    findings = []
    for found in detector.detect(
        state, search.phrases, search.exemplars, threshold=search.threshold, max_instances=search.max_instances
    ):
        scores, boxes = found.scores.tolist(), found.boxes.tolist()
        for score, (x_min, y_min, x_max, y_max), mask in zip(scores, boxes, found.masks.cpu().numpy(), strict=True):
            instance = Instance(found.phrase, score, CroppedMask.of(mask))
            findings.append(Finding(instance, (x_min, y_min, x_max, y_max)))
    return findings, time.perf_counter() - started


def track(
    submit: Submit, sightings: Sightings, frame: SeenFrame, findings: Sequence[Finding], rules: MatchRules
) -> tuple[list[Finding], list[str]]:
    """Hand findings over to the stream, the best first.

    Args:
        submit: Runs a command in the inference thread.
        sightings: What was seen lately.
        frame: Where they were found.
        findings: What was found.
        rules: When a finding is a tracked object or a new one.

    Returns:
        The findings in their order with what was decided about each, and why some are not tracked.
    """
    decided = list(findings)
    problems: dict[str, None] = {}  # each once, in their order
    for i in sorted(range(len(findings)), key=lambda i: -findings[i].instance.score):
        instance = findings[i].instance

        def place(session: Session, instance: Instance = instance) -> Decision:
            return hand_over(session.stream, sightings, frame, instance, rules)

        try:
            decided[i] = replace(findings[i], decision=submit(place).result())
        except StampError:
            problems[
                f"the image of {format_stamp(frame.stamp)} cannot be prompted any more: the detection took longer than "
                "the tracker's memory of images reaches back (parameter history_frames), or several images have this "
                "stamp"
            ] = None
            break  # the others were found on the same image
        except (CapacityError, PromptError) as error:
            problems[str(error)] = None
    return decided, list(problems)
