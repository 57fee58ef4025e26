"""Late images and new runs of stamps, told apart by what follows."""

from __future__ import annotations

import itertools

import pytest

from sam_ros.tracking.stamp_order import RUN, Arrival, StampOrder

MARKS = {Arrival.IN_ORDER: "+", Arrival.LATE: "-", Arrival.NEW_RUN: "!"}


def judged(stamps: list[int]) -> str:
    order = StampOrder()
    return "".join(MARKS[order.judge(stamp)] for stamp in stamps)


@pytest.mark.parametrize(
    ("stamps", "verdicts"),
    [
        ([1, 2, 3, 3, 4], "+++++"),
        ([1, 3, 2, 4], "++-+"),
        ([1, 4, 2, 3, 5], "++--+"),
        ([7, 8, 9, 7, 8, 9, 10], "+++--++"),
        ([7, 8, 9, 1, 2, 3, 4, 5], "+++--!++"),
        ([50, 10, 51, 11, 52, 12], "+-+-+-"),
        ([9, 8, 7, 6, 5, 4, 3], "+--!--!"),
        ([1, 10**15, 2, 3, 4, 5], "++--!+"),
        ([5, 0, 0, 4, 0, 6], "+++-++"),
    ],
    ids=[
        "in order",
        "one is overtaken",
        "two are overtaken",
        "a loop that comes back to the newest",
        "a loop or a restart",
        "two clocks: the later one goes on",
        "backwards",
        "one wild stamp",
        "images without stamps",
    ],
)
def test_verdicts(stamps: list[int], verdicts: str) -> None:
    assert judged(stamps) == verdicts


def test_never_more_than_two_images_in_a_row_are_dropped() -> None:
    """Whatever the stamps are: all orders of up to five values."""
    assert all("-" * RUN not in judged(list(stamps)) for stamps in itertools.product(range(1, 6), repeat=7))


def test_after_forgetting_any_stamp_is_in_order() -> None:
    order = StampOrder()
    order.judge(9)
    order.forget()
    assert order.judge(1) is Arrival.IN_ORDER
