"""A search: what to look for, read from a request and checked, and the image to look in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sam_msgs.srv import DetectConcept

from sam_core import NoFrameError, PromptError, StampError
from sam_core.association import LIVE, ConceptRules
from sam_core.sam3 import Exemplars
from sam_core.sam3.phrases import clean_phrase
from sam_core.sam3.tokenizer import Tokenizer, clean
from sam_core.streaming import Frame, FrameHistory
from sam_core.streaming.prompt import MAX_LABEL, check_label
from sam_ros.conversions.stamps import format_stamp
from sam_ros.runtime.errors import RefusedError

__all__ = [
    "MAX_PHRASES",
    "NEWEST",
    "Search",
    "SearchError",
    "check_exemplars",
    "check_phrase",
    "frame_for",
    "remark_on",
    "search_of",
]

MAX_PHRASES = 32  # of a call, and followed at once: a detection's time grows with them
MAX_EXEMPLARS = 32  # of a call
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
    rules: ConceptRules | None


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
    for what, count, most in (
        ("phrases", len(request.phrases), MAX_PHRASES),
        ("exemplars", len(request.exemplars), MAX_EXEMPLARS),
    ):
        if count > most:
            raise SearchError(f"a detection takes at most {most} {what}, not {count}: call again for the others")
    for number, phrase in enumerate(request.phrases, 1):
        check_phrase(phrase, tokenizer, f"phrase {number}" if len(request.phrases) > 1 else "the phrase")
    if not 0.0 <= request.score_threshold <= 1.0:
        raise SearchError(f"the score threshold must be within [0, 1], not {request.score_threshold:g}")
    if request.action not in (DetectConcept.Request.REPORT, DetectConcept.Request.TRACK):
        raise SearchError(f"an action is REPORT (0) or TRACK (1), not {request.action}")
    try:
        # Somebody asks for every instance: each starts an object, unless it overlaps one, or a better instance.
        rules = replace(
            LIVE,
            score_threshold=request.score_threshold,
            match_iou=request.match_iou,
            nms_iou=request.match_iou,
            new_score=0.0,
            hot_start=0,
        )
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
    """Refuse a phrase that names nothing, or cannot be the label of an object.

    Raises:
        SearchError: It is empty, too long, or contains a control character.
    """
    if len(phrase) > MAX_LABEL:  # first: the tokenizer's time grows with it
        raise SearchError(f"{name} has {len(phrase)} characters; at most {MAX_LABEL} are allowed")
    if not tokenizer(clean_phrase(phrase)).text:
        raise SearchError(f"{name} is empty: name a concept, for instance 'yellow cup'")
    try:
        check_label(phrase, name.removeprefix("the "))
    except PromptError as error:
        raise SearchError(str(error)) from error


def remark_on(phrase: str, tokenizer: Tokenizer) -> str:
    """Say how a phrase is read: what it is cleaned to, and what exceeds the detector's context; empty if as it is."""
    cleaned = clean_phrase(phrase)
    cut = tokenizer(cleaned).cut
    remarks = []
    if cleaned != clean(phrase):  # letter case and spacing never matter
        remarks.append(f"searched for as '{cleaned}'")
    if cut:
        remarks.append(
            f"the phrase is longer than the detector's {tokenizer.context_length} tokens; ignored is '{cut}'"
        )
    return "; ".join(remarks)


def frame_for(history: FrameHistory, stamp: int, or_newest: bool) -> Frame:
    """Return the image to search.

    Args:
        history: The newest frames.
        stamp: Stamp of the image in ns, or NEWEST.
        or_newest: Whether the newest image will do where that one is not at hand.

    Raises:
        NoFrameError: No image was processed yet.
        SearchError: The image is not at hand.
    """
    frames = history.with_pictures()
    try:
        return frames.frame_at(None if stamp == NEWEST else stamp, or_newest=or_newest)
    except NoFrameError:
        text = "no image was processed yet since the detector was loaded: there is nothing to search"
        raise NoFrameError(text) from None
    except StampError as error:
        assert frames.oldest is not None
        assert frames.newest is not None
        raise SearchError(
            f"the image of {format_stamp(stamp)} is not at hand: the oldest is of "
            f"{format_stamp(frames.oldest.stamp)}, the newest of {format_stamp(frames.newest.stamp)}; leave the stamp "
            "zero for the newest, or set or_newest"
        ) from error


def check_exemplars(search: Search, frame: Frame) -> str:
    """Refuse exemplars that do not fit the image; return what is clipped of the others, empty for nothing.

    Raises:
        SearchError: A box is outside the image, empty, or has an unknown label.
    """
    if search.exemplars is None:
        return ""
    try:
        return search.exemplars.normalised(frame.size).remark
    except ValueError as error:
        raise SearchError(str(error)) from error
