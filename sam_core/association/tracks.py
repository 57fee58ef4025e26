"""What the rules remember of a track: a handful of numbers, whatever the stream's length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NEVER_OCCLUDED = -1


@dataclass(frozen=True)
class Track:
    """An object that was found by a concept.

    Attributes:
        object_id: its id in the stream.
        concept: key of the concept.
        born: number of the search in which it was found.
        score: of the last detection that matched it, 0 … 1.
        keep_alive: count of searches, see `ConceptRules`.
        confirmed: whether it cannot be withdrawn any more.
        unmatched: searches in which it was unmatched; they withdraw it only while it is tentative.
        shared: from an older track to the searches in which both matched one detection, while this one was tentative.
        not_seen: searches in a row, up to now, in which its mask was empty.
        last_occluded: number of the newest frame on which it had no mask or was suppressed; -1 for none.
    """

    object_id: int
    concept: str
    born: int
    score: float
    keep_alive: int
    confirmed: bool = False
    unmatched: int = 0
    shared: Mapping[int, int] = field(default_factory=dict)
    not_seen: int = 0
    last_occluded: int = NEVER_OCCLUDED
