"""When to look for a concept again: every so often, and as soon as one of its objects is lost."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sam_core.association.matching import MatchRules, concept_key


@dataclass(frozen=True)
class FollowedConcept:
    """A concept that is looked for again and again.

    Attributes:
        phrase: names it.
        period: time from one detection to the next in s, above 0.
        score_threshold: instances at or below this score are ignored, 0 … 1.
        rules: when an instance is an object.
    """

    phrase: str
    period: float
    score_threshold: float = 0.5
    rules: MatchRules = field(default_factory=MatchRules)

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        if not self.key:
            raise ValueError("the phrase is empty: name a concept, for instance 'yellow cup'")
        if not 0 < self.period < math.inf:
            raise ValueError(f"the period must be a number of seconds above 0, not {self.period:g}")
        if not 0 <= self.score_threshold <= 1:
            raise ValueError(f"the score threshold must be within [0, 1], not {self.score_threshold:g}")

    @property
    def key(self) -> str:
        """What tells concepts apart."""
        return concept_key(self.phrase)


class RedetectionSchedule:
    """The concepts that are followed, and when each is due. Any thread may call any method.

    Args:
        clock: monotonic seconds; tests pass their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._concepts: dict[str, FollowedConcept] = {}
        self._due: dict[str, float] = {}

    @property
    def phrases(self) -> tuple[str, ...]:
        """The phrases, those followed for longest first."""
        with self._lock:
            return tuple(concept.phrase for concept in self._concepts.values())

    def follow(self, concept: FollowedConcept) -> None:
        """Follow a concept from now on, or with other settings; it is due at once."""
        with self._lock:
            self._concepts[concept.key] = concept
            self._due[concept.key] = self._clock()

    def unfollow(self, phrase: str) -> bool:
        """Follow a concept no longer; return whether it was followed."""
        with self._lock:
            self._due.pop(concept_key(phrase), None)
            return self._concepts.pop(concept_key(phrase), None) is not None

    def unfollow_all(self) -> bool:
        """Follow nothing any more; return whether anything was followed."""
        with self._lock:
            followed = bool(self._concepts)
            self._concepts.clear()
            self._due.clear()
        return followed

    def lost(self, keys: Iterable[str]) -> bool:
        """Make concepts due at once, because one of their objects was lost; return whether any of them is followed."""
        with self._lock:
            now = self._clock()
            concerned = [key for key in keys if key in self._due]
            for key in concerned:
                self._due[key] = min(self._due[key], now)
        return bool(concerned)

    def wait(self) -> float | None:
        """Return the seconds until a concept is due, 0 if one is now; None where nothing is followed."""
        with self._lock:
            return max(0.0, min(self._due.values()) - self._clock()) if self._due else None

    def take_due(self) -> tuple[FollowedConcept, ...]:
        """Return the concepts that are due; each is due again after its period."""
        with self._lock:
            now = self._clock()
            due = [key for key, when in self._due.items() if when <= now]
            for key in due:
                self._due[key] = now + self._concepts[key].period
            return tuple(self._concepts[key] for key in due)
