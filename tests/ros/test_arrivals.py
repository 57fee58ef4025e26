"""Gaps in sequence numbers are images that never came."""

from sam_ros.tracking.arrivals import UNSUPPORTED, Arrivals


def test_gaps_are_missing_images() -> None:
    arrivals = Arrivals()
    assert [arrivals.missing(n) for n in (5, 6, 9, 10)] == [0, 0, 2, 0]


def test_a_restarted_publisher_misses_nothing() -> None:
    arrivals = Arrivals()
    assert [arrivals.missing(n) for n in (500, 1, 2, 4)] == [0, 0, 0, 1]


def test_after_a_break_nothing_is_missing() -> None:
    arrivals = Arrivals()
    arrivals.missing(1)
    arrivals.forget()
    assert arrivals.missing(100) == 0


def test_a_middleware_without_numbers_misses_nothing() -> None:
    arrivals = Arrivals()
    assert [arrivals.missing(UNSUPPORTED) for _ in range(3)] == [0, 0, 0]


def test_beside_a_killed_publisher_the_new_one_is_counted() -> None:
    arrivals = Arrivals()
    assert [arrivals.missing(n) for n in (499, 500)] == [0, 0]
    assert [arrivals.missing(n, publishers=2) for n in (1, 2, 23, 24)] == [0, 0, 20, 0]
    assert arrivals.missing(27, publishers=1) == 2, "the killed one is given up"


def test_two_publishers_are_counted_apart() -> None:
    arrivals = Arrivals()
    numbers = (500, 3, 501, 4, 503, 7)
    assert [arrivals.missing(n, publishers=2) for n in numbers] == [0, 0, 0, 0, 1, 2]


def test_a_second_publisher_with_a_larger_number_misses_nothing() -> None:
    arrivals = Arrivals()
    assert arrivals.missing(10) == 0
    assert [arrivals.missing(n, publishers=2) for n in (600, 11, 601)] == [0, 0, 0]


def test_publishers_that_come_and_go_take_no_room() -> None:
    arrivals = Arrivals()
    for start in range(0, 10_000, 100):
        arrivals.missing(10_000 - start, publishers=3)
    assert len(arrivals._newest) == 3


def test_a_message_that_comes_twice_or_late_is_no_gap() -> None:
    arrivals = Arrivals()
    assert [arrivals.missing(n) for n in (5, 5, 4, 5, 6)] == [0, 0, 0, 0, 0]


def test_a_number_of_no_meaning_leaves_the_last_one() -> None:
    arrivals = Arrivals()
    assert [arrivals.missing(n) for n in (0, UNSUPPORTED, 2, UNSUPPORTED - 1)] == [0, 0, 1, UNSUPPORTED - 4]
