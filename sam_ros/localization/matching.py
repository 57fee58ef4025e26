"""Pair messages of two topics by their stamps: never "the newest", and what finds no partner is counted.

message_filters has synchronizers, but does not tell what it dropped, nor why; so this is used on every machine.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["MatchCounts", "StampMatcher"]

A = TypeVar("A")
B = TypeVar("B")


@dataclass
class MatchCounts:
    """What became of messages.

    Attributes:
        pairs: Pairs that were made.
        left_alone: Messages of the first topic without a partner.
        right_alone: Messages of the second topic without a partner.
        jumps: Times that the clock went back, whereupon what waited was forgotten.
    """

    pairs: int = 0
    left_alone: int = 0
    right_alone: int = 0
    jumps: int = 0


@dataclass
class _Waiting(Generic[A]):
    message: A
    arrived: float


@dataclass
class StampMatcher(Generic[A, B]):
    """Pair each message of the first topic with the one of the second whose stamp is nearest.

    An equal stamp is taken at once. Otherwise a message waits: until the nearest partner is known, because one that is
    later has come too, or until its time is over. A message of the second topic may serve several of the first.

    Attributes:
        tolerance: Most difference of the stamps, ns; 0 pairs equal stamps alone.
        patience: Seconds that a message of the first topic waits for its partner.
        size: Most messages of each topic that are kept.
        jump: ns by which a stamp must be before the newest one for the clock to have gone back.
        counts: What became of the messages.
    """

    tolerance: int
    patience: float
    size: int
    jump: int = 3 * 10**9
    counts: MatchCounts = field(default_factory=MatchCounts)

    def __post_init__(self) -> None:
        self._left: OrderedDict[int, _Waiting[A]] = OrderedDict()
        self._right: OrderedDict[int, B] = OrderedDict()
        self._used: set[int] = set()
        self._newest: int | None = None

    def add_left(self, stamp: int, message: A, now: float) -> bool:
        """Take a message of the first topic; `now` in monotonic s. Says whether the clock has gone back."""
        jumped = self._watch_clock(stamp)
        if stamp in self._left:
            self.counts.left_alone += 1  # two of one stamp: the later one counts
        self._left[stamp] = _Waiting(message, now)
        while len(self._left) > self.size:
            self._left.popitem(last=False)
            self.counts.left_alone += 1
        return jumped

    def add_right(self, stamp: int, message: B) -> bool:
        """Take a message of the second topic. Says whether the clock has gone back."""
        jumped = self._watch_clock(stamp)
        self._right[stamp] = message
        while len(self._right) > self.size:
            self._drop_right(min(self._right))
        return jumped

    def take(self, now: float) -> list[tuple[A, B]]:
        """Return the pairs that are known by now, in the order of their stamps."""
        pairs = []
        for stamp in sorted(self._left):
            waiting = self._left[stamp]
            over = now - waiting.arrived > self.patience
            partner = self._partner(stamp, over)
            if partner is not None:
                del self._left[stamp]
                self._used.add(partner)
                self.counts.pairs += 1
                pairs.append((waiting.message, self._right[partner]))
            elif over:
                del self._left[stamp]
                self.counts.left_alone += 1
        return pairs

    @property
    def waiting(self) -> int:
        """Messages of the first topic that wait."""
        return len(self._left)

    def clear(self) -> None:
        """Forget what waits."""
        self._left.clear()
        self._right.clear()
        self._used.clear()
        self._newest = None

    def _partner(self, stamp: int, over: bool) -> int | None:
        if stamp in self._right:
            return stamp
        if not self.tolerance or not self._right:
            return None
        nearest = min(self._right, key=lambda other: abs(other - stamp))
        if abs(nearest - stamp) > self.tolerance:
            return None
        return nearest if over or max(self._right) > stamp else None

    def _drop_right(self, stamp: int) -> None:
        del self._right[stamp]
        if stamp in self._used:
            self._used.remove(stamp)
        else:
            self.counts.right_alone += 1

    def _watch_clock(self, stamp: int) -> bool:
        back = self._newest is not None and stamp < self._newest - self.jump
        if back:
            self.counts.left_alone += len(self._left)
            self.counts.right_alone += len(set(self._right) - self._used)
            self.counts.jumps += 1
            self.clear()
        self._newest = stamp if self._newest is None else max(self._newest, stamp)
        return back
