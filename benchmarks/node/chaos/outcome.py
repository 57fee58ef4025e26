"""What was seen of one event."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What was seen of one event.

    Attributes:
        name: Of the event.
        began: When, s.
        seen: What the event itself says.
        published: Images published, up to the one of the newest result.
        results: Results that arrived.
        drops: Images that the tracker counted as dropped, by cause.
        memory: The tracker's resident memory afterwards, MiB; NaN where it is gone.
        life: Which of the tracker's processes it happened to.
        wrong: What is not as it should be; empty for nothing.
    """

    name: str
    began: float
    seen: str
    published: int
    results: int
    drops: dict[str, int]
    memory: float
    life: int
    wrong: tuple[str, ...]

    @property
    def unaccounted(self) -> int:
        """Images of which nothing is known."""
        return self.published - self.results - sum(self.drops.values())
