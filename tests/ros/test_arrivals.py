from __future__ import annotations

from sam_ros.tracking.arrivals import UNSUPPORTED, Arrivals


def test_gaps_are_counted() -> None:
    arrivals = Arrivals()
    assert [arrivals.missing(n) for n in (5, 6, 9, 10)] == [0, 0, 2, 0]


def test_a_restarted_publisher_is_no_gap() -> None:
    arrivals = Arrivals()
    assert [arrivals.missing(n) for n in (500, 1, 2, 4)] == [0, 0, 0, 1]


def test_after_forgetting_the_first_message_says_nothing() -> None:
    arrivals = Arrivals()
    arrivals.missing(1)
    arrivals.forget()
    assert arrivals.missing(100) == 0


def test_a_middleware_without_numbers() -> None:
    arrivals = Arrivals()
    assert [arrivals.missing(UNSUPPORTED) for _ in range(3)] == [0, 0, 0]


def test_a_message_that_comes_twice_or_late_is_no_gap() -> None:
    arrivals = Arrivals()
    assert [arrivals.missing(n) for n in (5, 5, 4, 5, 6)] == [0, 0, 0, 0, 0]


def test_a_number_of_no_meaning_leaves_the_last_one() -> None:
    arrivals = Arrivals()
    assert [arrivals.missing(n) for n in (0, UNSUPPORTED, 2, UNSUPPORTED - 1)] == [0, 0, 1, UNSUPPORTED - 4]
