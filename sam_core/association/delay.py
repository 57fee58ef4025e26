"""Hold results back, as SAM 3 was published: what turns out to be withdrawn is never shown.

Source: SAM 3 (Carion et al., 2025), video, "hot start": results come out 15 frames late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Generic, TypeVar

from sam_core.association.concept_result import ConceptResult
from sam_core.association.merging import merged

T = TypeVar("T")  # what a caller wants back with a result, for instance its image


class Delay(Generic[T]):
    """A buffer of results that forgets withdrawn objects.

    Args:
        frames: results that are held, the newest included; below 2 nothing is held back.
    """

    def __init__(self, frames: int) -> None:
        self._frames = max(1, frames)
        self._held: deque[tuple[ConceptResult, T]] = deque()

    def __len__(self) -> int:
        """Return the number of results that are held."""
        return len(self._held)

    def push(self, result: ConceptResult, companion: T) -> tuple[ConceptResult, T] | None:
        """Take a result in; return the one that comes out, if any."""
        if result.removed:
            self._held = deque((_without(held, result), mate) for held, mate in self._held)
        self._held.append((result, companion))
        return self._held.popleft() if len(self._held) >= self._frames else None

    def flush(self) -> Iterator[tuple[ConceptResult, T]]:
        """Yield what is held, oldest first, at the end of a stream."""
        while self._held:
            yield self._held.popleft()


def _without(held: ConceptResult, later: ConceptResult) -> ConceptResult:
    """Return an earlier result without what a later one withdraws."""
    gone = later.removed.keys()
    return replace(
        held,
        result=merged(held.result, {}, gone),
        tracks={i: track for i, track in held.tracks.items() if i not in gone},
        born=tuple(i for i in held.born if i not in gone),
    )
