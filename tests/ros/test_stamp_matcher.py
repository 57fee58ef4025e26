"""Images and results meet by their stamps: early, late, thinned, lost, and after a recording has begun anew."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from sam_ros.runtime.stamp_matcher import StampMatcher

RATE = 30  # images a second
ROOM = 10  # images that may wait

Matcher = StampMatcher[int, int]


def matcher(now: list[float], room: int = ROOM) -> Matcher:
    """Images and results are their stamps, and have one byte."""
    return StampMatcher(image_bytes=room, result_bytes=3, clock=lambda: now[0])


def matched(room: int, results: Iterable[tuple[int, int]], images: int = 600) -> tuple[int, int]:
    """Let images come, and results (when, stamp) just before the image of that number; return matched and all."""
    now, due = [0.0], dict(results)
    meeting = matcher(now, room)
    good = 0
    for stamp in range(1, images + 1):
        now[0] = stamp / RATE
        if stamp in due:
            found = meeting.add_result(due[stamp], due[stamp], 1)
            assert found in (None, due[stamp])
            good += found is not None
        meeting.add_image(stamp, stamp, 1)
        assert meeting.size <= room + 3
    return good, len(due)


def test_results_that_come_later_than_the_images_fit_find_many_of_them() -> None:
    """30 Hz and 0.6 s from image to result: 18 images are on their way, and 10 fit."""
    good, total = matched(ROOM, ((stamp + 18, stamp) for stamp in range(1, 582)))
    assert total == 581
    assert good > 0.4 * total


@pytest.mark.parametrize("room", [2, ROOM])
def test_a_slow_tracker_takes_the_newest_image_and_that_one_is_kept(room: int) -> None:
    """Each image takes 0.6 s; then the tracker takes the one that came last."""
    good, total = matched(room, ((stamp + 18, stamp - 1) for stamp in range(19, 582, 18)))
    assert total == 32
    assert good >= total - 1, "only the first result tells which image comes next"


def test_where_all_fit_none_is_missed() -> None:
    assert matched(ROOM, ((stamp + 3, stamp) for stamp in range(1, 598))) == (597, 597)


def test_an_early_result_waits_and_a_lost_one_is_counted() -> None:
    now = [0.0]
    meeting = matcher(now)
    assert meeting.add_result(5, 5, 1) is None
    assert meeting.add_image(5, 5, 1) == 5
    assert (meeting.missed, meeting.size) == (0, 0)
    meeting.add_result(6, 6, 1)
    now[0] = 2.5
    meeting.add_image(8, 8, 1)
    assert (meeting.missed, meeting.size) == (1, 1)
    for stamp in range(10, 20):
        meeting.add_result(stamp, stamp, 1)
    assert (meeting.missed, meeting.size) == (8, 3), "those that wait are bounded, too; image 8 was passed"


def test_an_image_that_no_result_asks_for_is_given_up() -> None:
    now = [0.0]
    meeting = matcher(now)
    meeting.add_image(1, 1, 1)
    now[0] = 31.0
    meeting.add_image(2, 2, 1)
    assert meeting.size == 1
    meeting.clear()
    assert meeting.size == 0
    assert meeting.add_result(2, 2, 1) is None


def test_stamps_may_begin_anew_and_repeat() -> None:
    meeting = matcher([0.0])
    for stamp in (10, 20, 5, 5, 6):
        meeting.add_image(stamp, stamp, 1)
    assert meeting.add_result(20, 20, 1) == 20
    assert meeting.add_result(5, 5, 1) == 5
    assert meeting.add_result(6, 6, 1) == 6
    assert meeting.size == 0


def test_one_that_is_larger_than_the_bound_is_kept_until_the_next() -> None:
    meeting = matcher([0.0])
    meeting.add_image(1, 1, 1000)
    assert meeting.add_result(1, 1, 1) == 1
    meeting.add_image(2, 2, 1000)
    meeting.add_image(3, 3, 1000)
    assert meeting.size == 1000
    assert meeting.add_result(3, 3, 1) == 3
