"""Find out from the middleware's sequence numbers how many images never reached the node."""

from __future__ import annotations

__all__ = ["UNSUPPORTED", "Arrivals"]

UNSUPPORTED = 2**64 - 1  # what a middleware without sequence numbers reports


class Arrivals:
    """Watch the sequence numbers that publishers give their messages.

    A message does not say whose it is. Its number belongs to the publisher whose newest number is the nearest one below
    it: numbers of different publishers are seldom close to each other. A camera that was killed counts as a publisher
    beside the new one until the middleware gives it up, some 20 s later.
    """

    def __init__(self) -> None:
        self._newest: list[int] = []  # number of each publisher's newest message, the newest message's last

    def missing(self, sequence: int, publishers: int = 1) -> int:
        """Return how many messages of its publisher are missing before this one.

        Args:
            sequence: `publication_sequence_number` of the message's info.
            publishers: How many publishers the topic has.

        Returns:
            0 for a publisher's first message, after its restart, and where the middleware does not count.
        """
        if sequence == UNSUPPORTED:
            return 0
        before = max((number for number in self._newest if number < sequence), default=sequence)
        gap = sequence - before - 1
        if gap > 0 and len(self._newest) < publishers:
            before, gap = sequence, 0  # rather the first message of a publisher that was not heard before
        if before != sequence:
            self._newest.remove(before)
        self._newest.append(sequence)
        del self._newest[: -max(1, publishers)]
        return max(0, gap)

    def forget(self) -> None:
        """Start anew: the node did not listen for a while."""
        self._newest.clear()
