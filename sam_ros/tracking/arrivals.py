"""Find out from the middleware's sequence numbers how many images never reached the node."""

from __future__ import annotations

__all__ = ["UNSUPPORTED", "Arrivals"]

UNSUPPORTED = 2**64 - 1  # what a middleware without sequence numbers reports


class Arrivals:
    """Watch the sequence numbers that one publisher gives its messages."""

    def __init__(self) -> None:
        self._last: int | None = None

    def missing(self, sequence: int) -> int:
        """Return how many messages are missing between the previous one and this one.

        Args:
            sequence: `publication_sequence_number` of the message's info.

        Returns:
            0 for the first message, after a restart of the publisher, and where the middleware does not count.
        """
        if sequence == UNSUPPORTED:
            return 0
        last, self._last = self._last, sequence
        return sequence - last - 1 if last is not None and sequence > last else 0

    def forget(self) -> None:
        """Start anew: several publishers share the topic, or the node did not listen for a while."""
        self._last = None
