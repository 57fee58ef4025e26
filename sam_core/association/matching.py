"""Associate a detected instance with the tracked objects: it is one of them, a lost one, or a new one.

After the association of SAM 3's own video model (Carion et al., "SAM 3: Segment Anything with Concepts", 2025, and its
code): by mask IoU on the frame of the detection, from 0.1 on; a new object needs a score of 0.7 and no match. Unlike
there, a detection may also stand for an object that was lost, which then keeps its id.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sam_core.sam3.phrases import clean_phrase
from sam_core.streaming import CroppedMask


class Association(Enum):
    """What a detected instance is to the tracking."""

    TRACKED = "an object that is tracked already"
    REIDENTIFIED = "an object that was lost"
    NEW = "a new object"
    UNSURE = "nothing: its score is too low to start an object"
    LIMIT_REACHED = "nothing: the concept has as many objects as it may"
    EMPTY = "nothing: its mask is empty"


@dataclass(frozen=True, eq=False)
class Instance:
    """What a detector found.

    Attributes:
        phrase: what it was found by.
        score: 0 … 1.
        mask: on the image that was searched.
    """

    phrase: str
    score: float
    mask: CroppedMask


@dataclass(frozen=True, eq=False)
class KnownObject:
    """What the tracking knows of an object, as far as it matters here.

    Attributes:
        object_id: its id.
        concept: key of the concept that it was found by (see `concept_key`); empty for an object of another origin.
        mask: where it is on the frame of the detection, or was on the nearest frame where it was seen; None if unknown.
        lost: whether it is not seen any more, neither on the frame of the detection nor now.
    """

    object_id: int
    concept: str
    mask: CroppedMask | None
    lost: bool = False


@dataclass(frozen=True)
class MatchRules:
    """When an instance is an object.

    Attributes:
        match_iou: from this mask IoU on it is the tracked object that it overlaps, above 0 … 1.
        new_score: from this score on it starts an object, 0 … 1.
        max_objects: most objects of its concept; None for no limit.
    """

    match_iou: float = 0.1
    new_score: float = 0.7
    max_objects: int | None = None

    def __post_init__(self) -> None:
        """Refuse rules that make no sense."""
        if not 0 < self.match_iou <= 1:
            raise ValueError(f"the IoU from which masks match must be above 0 and at most 1, not {self.match_iou:g}")
        if not 0 <= self.new_score <= 1:
            raise ValueError(f"the score that starts an object must be within [0, 1], not {self.new_score:g}")


@dataclass(frozen=True)
class Decision:
    """What was decided about an instance.

    Attributes:
        association: what it is.
        object_id: which object it is; None for a new one, and for nothing.
        overlap: IoU with that tracked object, or the largest with any; 0 … 1.
    """

    association: Association
    object_id: int | None = None
    overlap: float = 0.0


def concept_key(phrase: str) -> str:
    """Return what phrases that mean the same to the detector have in common: "The red cups" and "red cup"."""
    return clean_phrase(phrase).casefold()


def associate(instance: Instance, known: Sequence[KnownObject], rules: MatchRules) -> Decision:
    """Associate one instance.

    Several instances are associated greedily, the best score first; each sees the objects that better ones have started
    or brought back. So two instances of one image that overlap become one object. For tracked objects an
    optimal assignment (Hungarian method) has nothing to add: to match takes no object away from other instances, and
    tracked objects hardly overlap on one frame. Of lost ones that come back on one image the best score takes the
    nearest, the next of what is left, which need not be the nearest for all.

    Args:
        instance: what was found.
        known: all objects that are tracked now.
        rules: thresholds and limits.
    """
    if instance.mask.area == 0:
        return Decision(Association.EMPTY)
    overlaps = [(instance.mask.overlap(o.mask), o) for o in known if o.mask is not None and not o.lost]
    overlap, nearest = max(overlaps, key=lambda item: item[0], default=(0.0, None))
    if nearest is not None and overlap >= rules.match_iou:
        return Decision(Association.TRACKED, nearest.object_id, overlap)
    concept = concept_key(instance.phrase)
    siblings = [o for o in known if o.concept == concept]
    lost = [o for o in siblings if o.lost]
    if lost:  # nothing tells lost siblings apart but where each was seen last
        back = min(lost, key=lambda o: (_distance(instance.mask, o.mask), o.object_id))
        return Decision(Association.REIDENTIFIED, back.object_id, overlap)
    if instance.score < rules.new_score:
        return Decision(Association.UNSURE, overlap=overlap)
    if rules.max_objects is not None and len(siblings) >= rules.max_objects:
        return Decision(Association.LIMIT_REACHED, overlap=overlap)
    return Decision(Association.NEW, overlap=overlap)


def _distance(mask: CroppedMask, last_seen: CroppedMask | None) -> float:
    """Return how far apart two masks' centres are, in image widths and heights; infinite where one is unknown."""
    if last_seen is None:
        return math.inf
    (x, y), (last_x, last_y) = mask.centre, last_seen.centre
    (height, width), (last_height, last_width) = mask.image_size, last_seen.image_size
    return math.hypot(x / width - last_x / last_width, y / height - last_y / last_height)
