"""When to look for a concept again: every so often, and as soon as one of its objects is lost."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sam_core.association.rules import LIVE, ConceptRules
from sam_core.sam3.phrases import clean_phrase


def concept_key(phrase: str) -> str:
    """Return what phrases that mean the same to the detector have in common: "The red cups" and "red cup"."""
    return clean_phrase(phrase).casefold()


MAX_EVERY = 100_000  # frames from one search to the next, at most


@dataclass(frozen=True)
class FollowedConcept:
    """A concept that is looked for again and again.

    Attributes:
        phrase: names it.
        period: time from one search to the next in s, above 0.
        every_n_frames: frames from one search to the next; 0: by `period`.
        rules: what the searches do to its tracks.
    """

    phrase: str
    period: float = 5.0
    every_n_frames: int = 0
    rules: ConceptRules = LIVE

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        if not self.key:
            raise ValueError("the phrase is empty: name a concept, for instance 'yellow cup'")
        if not 0 < self.period < math.inf:
            raise ValueError(f"the period must be a number of seconds above 0, not {self.period:g}")
        if not 0 <= self.every_n_frames <= MAX_EVERY:
            raise ValueError(f"every_n_frames must be within [0, {MAX_EVERY}], not {self.every_n_frames}")

    @property
    def key(self) -> str:
        """What tells concepts apart."""
        return concept_key(self.phrase)


class RedetectionSchedule:
    """The concepts that are followed, and when each is due: by the clock or by the number of frames.

    Any thread may call any method.

    Args:
        clock: monotonic seconds; tests pass their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._concepts: dict[str, FollowedConcept] = {}
        self._due: dict[str, float] = {}  # key -> monotonic s; infinity where frames are counted
        self._frames: dict[str, int] = {}  # key -> frames until it is due

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
            self._frames[concept.key] = concept.every_n_frames

    def unfollow(self, phrase: str) -> bool:
        """Follow a concept no longer; return whether it was followed."""
        with self._lock:
            self._due.pop(concept_key(phrase), None)
            self._frames.pop(concept_key(phrase), None)
            return self._concepts.pop(concept_key(phrase), None) is not None

    def unfollow_all(self) -> bool:
        """Follow nothing any more; return whether anything was followed."""
        with self._lock:
            followed = bool(self._concepts)
            self._concepts.clear()
            self._due.clear()
            self._frames.clear()
        return followed

    def follows(self, concept: FollowedConcept) -> bool:
        """Tell whether a concept is still followed as it was asked for; other rules are no other wish."""
        with self._lock:
            now = self._concepts.get(concept.key)
            return now is not None and replace(now, rules=concept.rules) == concept

    def replace_rules(self, change: Callable[[ConceptRules], ConceptRules]) -> None:
        """Give every concept other rules, from its next search on."""
        with self._lock:
            self._concepts = {key: replace(one, rules=change(one.rules)) for key, one in self._concepts.items()}

    def frame_came(self) -> bool:
        """Count a frame; return whether a concept that counts frames is due."""
        with self._lock:
            for key, concept in self._concepts.items():
                if concept.every_n_frames and self._due[key] == math.inf:
                    self._frames[key] -= 1
                    if self._frames[key] <= 0:
                        self._due[key] = self._clock()
            return any(c.every_n_frames and self._due[k] < math.inf for k, c in self._concepts.items())

    def lost(self, keys: Iterable[str]) -> bool:
        """Make concepts due at once: an object, or a search, was lost; return whether any of them is followed."""
        with self._lock:
            now = self._clock()
            concerned = [key for key in keys if key in self._due]
            for key in concerned:
                self._due[key] = min(self._due[key], now)
        return bool(concerned)

    def wait(self, *, counts_frames: bool | None = None) -> float | None:
        """Return the seconds until a concept is due, 0 if one is now; None where none is in sight.

        Args:
            counts_frames: look only at concepts that count frames, or only at those that go by the clock; None: at all.
        """
        with self._lock:
            soonest = min((self._due[key] for key in self._keys(counts_frames)), default=math.inf)
            return max(0.0, soonest - self._clock()) if soonest < math.inf else None

    def take_due(self, *, counts_frames: bool | None = None) -> tuple[FollowedConcept, ...]:
        """Return the concepts that are due; each is due again after its period, or its number of frames.

        Args:
            counts_frames: see `wait`.
        """
        with self._lock:
            now = self._clock()
            due = [key for key in self._keys(counts_frames) if self._due[key] <= now]
            for key in due:
                concept = self._concepts[key]
                self._due[key] = math.inf if concept.every_n_frames else now + concept.period
                self._frames[key] = concept.every_n_frames
            return tuple(self._concepts[key] for key in due)

    def _keys(self, counts_frames: bool | None) -> list[str]:
        everything = self._concepts.items()
        return [key for key, one in everything if counts_frames is None or bool(one.every_n_frames) is counts_frames]
