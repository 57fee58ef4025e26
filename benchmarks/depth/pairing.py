"""Pair stamps of a camera whose depth images get lost and come late."""

from __future__ import annotations

import heapq

import numpy as np

from sam_ros.localization.matching import StampMatcher

__all__ = ["wrong_pairs"]


def wrong_pairs(images: int, *, dropped: float, late: float, seed: int = 0) -> tuple[int, int, int]:
    """Return the numbers of pairs, of wrong pairs and of images that found no partner.

    Images come at 30 Hz, their objects 100 to 300 ms later. Late depth images come up to 500 ms late.

    Args:
        images: How many.
        dropped: Share of the depth images that get lost.
        late: Share that comes late.
        seed: Of the fate of each.
    """
    rng = np.random.default_rng(seed)
    events: list[tuple[float, int, str]] = []
    for number in range(images):
        at, chance = number / 30, rng.random()
        events.append((at + rng.uniform(0.1, 0.3), number, "objects"))
        if chance >= dropped:
            delay = rng.uniform(0.1, 0.5) if chance < dropped + late else 0.01
            events.append((at + delay, number, "depth"))
    heapq.heapify(events)
    matcher: StampMatcher[int, int] = StampMatcher(5_000_000, patience=1.0, size=60)
    pairs: list[tuple[int, int]] = []
    now = 0.0
    while events:
        now, number, kind = heapq.heappop(events)
        stamp = 10**12 + number * 33_333_333
        if kind == "objects":
            matcher.add_left(stamp, number, now)
        else:
            matcher.add_right(stamp, number)
        pairs += matcher.take(now)
    pairs += matcher.take(now + 2.0)
    return len(pairs), sum(a != b for a, b in pairs), matcher.counts.left_alone
