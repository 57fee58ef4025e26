"""The course of a thing against the truth, on frames made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sam_ros.course import Course
from sam_ros.demo import courses


def _frames(course: Course, ids: list[int | None], hidden: set[int], fps: float = 10.0) -> None:
    """Add frames of 10 x 10 px: the thing is a 6 x 6 square unless hidden; ids are the objects on it, 0 for none."""
    for index, object_id in enumerate(ids):
        truth, labels = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint16)
        if index not in hidden:
            truth[2:8, 2:8] = course.number
        if object_id:
            labels[2:8, 2:7] = object_id  # 30 of 36 px
        course.add(int(index / fps * 1e9) + 5, truth, labels)


def test_a_thing_that_is_found_hidden_and_found_again() -> None:
    course = Course("red ball", 3)
    _frames(course, [0, 0, 7, 7, 0, 0, 0, 0, 0, 7, 7], hidden={4, 5, 6, 7})
    assert course.found is not None
    assert (course.found.object_id, course.found.seconds) == (7, pytest.approx(0.2))
    (away,) = course.returns()
    assert (away.hidden, away.back, away.found) == pytest.approx((0.4, 0.8, 0.9))
    assert (away.before, away.after) == (7, 7)
    # Visible from the first find on: frames 2, 3, 8, 9, 10, with a miss in frame 8.
    assert course.mean_iou == pytest.approx(4 / 5 * 30 / 36)
    assert course.summary()[1] == (
        "red ball: hidden from 0.4 to 0.8 s, found again after 0.1 s as object 7 (the same object)"
    )


def test_another_object_or_none_afterwards_is_told() -> None:
    other, none, never = Course("a", 1), Course("b", 1), Course("c", 1)
    _frames(other, [4, 4, 0, 0, 0, 0, 5], hidden={2, 3, 4, 5})
    _frames(none, [4, 4, 0, 0, 0, 0, 0], hidden={2, 3, 4, 5})
    _frames(never, [0, 0, 0], hidden=set())
    assert (other.returns()[0].before, other.returns()[0].after) == (4, 5)
    assert "object 4 before" in other.summary()[1]
    assert none.returns()[0].found is None
    assert none.summary()[1].endswith("not found again")
    assert never.summary() == ["c: never found in 3 frames"]
    assert never.mean_iou == 0.0


def test_a_blink_is_no_absence() -> None:
    course = Course("a", 1)
    _frames(course, [4, 4, 4, 4], hidden={2})
    assert course.returns() == []


def test_a_phrase_means_the_things_that_have_all_its_words() -> None:
    names = ("red ball", "yellow star", "blue box")
    assert [(c.name, c.number) for c in courses("the red circle", names)] == [("red ball", 1)]
    assert [c.number for c in courses("blue square", names)] == [3]
    assert [c.number for c in courses("every object", names)] == [1, 2, 3]
    assert courses("green turtle", names) == []
