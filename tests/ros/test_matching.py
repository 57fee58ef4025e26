"""Pairs by stamp: exact, nearest within a bound, late, lost, bounded, and after the clock has gone back."""

from __future__ import annotations

import pytest

from benchmarks.depth.pairing import wrong_pairs
from sam_ros.localization.matching import StampMatcher

MS = 1_000_000


def matcher(tolerance: int = 5 * MS, size: int = 4) -> StampMatcher[str, str]:
    return StampMatcher(tolerance, patience=1.0, size=size)


def test_equal_stamps_are_a_pair_at_once_whichever_comes_first() -> None:
    pairs = matcher()
    pairs.add_left(100 * MS, "a", 0.0)
    assert pairs.take(0.0) == []
    pairs.add_right(100 * MS, "A")
    assert pairs.take(0.0) == [("a", "A")]
    pairs.add_right(133 * MS, "B")
    pairs.add_left(133 * MS, "b", 0.1)
    assert pairs.take(0.1) == [("b", "B")]
    assert (pairs.counts.pairs, pairs.counts.left_alone) == (2, 0)


def test_the_nearest_is_taken_once_it_is_known_to_be_the_nearest() -> None:
    pairs = matcher()
    pairs.add_left(100 * MS, "a", 0.0)
    pairs.add_right(97 * MS, "before")
    assert pairs.take(0.0) == [], "a nearer one may come"
    pairs.add_right(102 * MS, "after")
    assert pairs.take(0.0) == [("a", "after")]


def test_what_is_beyond_the_tolerance_is_no_partner() -> None:
    pairs = matcher()
    pairs.add_left(100 * MS, "a", 0.0)
    pairs.add_right(133 * MS, "B")
    assert pairs.take(0.5) == []
    assert pairs.take(1.5) == []
    assert pairs.counts.left_alone == 1


def test_late_partners_are_waited_for() -> None:
    pairs = matcher()
    pairs.add_left(100 * MS, "a", 0.0)
    pairs.add_right(133 * MS, "B")
    pairs.add_left(133 * MS, "b", 0.03)
    assert pairs.take(0.03) == [("b", "B")]
    pairs.add_right(100 * MS, "A")
    assert pairs.take(0.5) == [("a", "A")]


def test_both_queues_are_bounded_and_what_leaves_is_counted() -> None:
    pairs = matcher(size=4)
    for i in range(20):
        pairs.add_left(i * 100 * MS, "left", 0.0)
        pairs.add_right(i * 100 * MS + 50 * MS, "right")
    assert pairs.waiting == 4
    assert (pairs.counts.left_alone, pairs.counts.right_alone) == (16, 16)


def test_the_clock_may_go_back() -> None:
    pairs = matcher()
    pairs.add_left(100_000 * MS, "a", 0.0)
    assert pairs.add_right(10 * MS, "A")
    assert pairs.waiting == 0
    pairs.add_left(10 * MS, "b", 0.1)
    assert pairs.take(0.1) == [("b", "A")]
    assert (pairs.counts.jumps, pairs.counts.left_alone) == (1, 1)


@pytest.mark.parametrize("seed", range(3))
def test_no_wrong_pair_with_lost_and_late_depth(seed: int) -> None:
    pairs, wrong, alone = wrong_pairs(2000, dropped=0.2, late=0.1, seed=seed)

    assert wrong == 0
    assert pairs + alone == 2000
    assert pairs == pytest.approx(1600, abs=60)
