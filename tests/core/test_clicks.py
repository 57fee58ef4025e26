"""Points and box of one object on one frame, as prompts add to them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sam_core import Prompt, PromptError
from sam_core.streaming.clicks import Clicks
from sam_core.streaming.prompt import check_label, check_number_of_points, check_prompt


def of(clicks: Clicks, **prompt: object) -> Clicks:
    return clicks.combined_with(check_prompt(Prompt(**prompt), 90, 120))  # type: ignore[arg-type]


def test_points_add_up_and_a_box_stays_until_another_comes() -> None:
    first = of(Clicks(), points=[[3, 4]], box=[1, 2, 30, 40])
    second = of(first, points=[[5, 6]], labels=[0])
    np.testing.assert_array_equal(second.points, [[3, 4], [5, 6]])
    np.testing.assert_array_equal(second.labels, [1, 0])
    assert second.box is not None
    np.testing.assert_array_equal(second.box, [1, 2, 30, 40])
    third = of(second, box=[5, 5, 9, 9])
    assert third.box is not None
    np.testing.assert_array_equal(third.box, [5, 5, 9, 9])
    points, labels = third.as_points()
    np.testing.assert_array_equal(points, [[5, 5], [9, 9], [3, 4], [5, 6]])
    np.testing.assert_array_equal(labels, [2, 3, 1, 0])


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\ud800"])
def test_a_label_has_no_line_ends_and_no_halves_of_characters(sign: str) -> None:
    with pytest.raises(PromptError, match=f"The label contains the control character U\\+{ord(sign):04X}\\."):
        check_label(f"a{sign}b")


EMPTY = "The prompt is empty: give points, a box or a mask."
FULL = "Give a mask, or fewer points."


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ({}, EMPTY),
        ({"points": []}, EMPTY),
        ({"labels": [1]}, EMPTY),
        ({"points": [[1, 2]], "labels": [1, 0]}, "There are 1 points but 2 labels."),
        ({"box": [1, 2, 3, 4], "labels": [1]}, "There are 0 points but 1 labels."),
        ({"points": [[1, 2], [3, 4]], "labels": [1, 7]}, "A label is 1 (positive) or 0 (negative), not 7."),
        ({"points": [[1, 2]], "labels": [0.5]}, "A label is 1 (positive) or 0 (negative), not 0.5."),
        ({"points": [[1, 2]], "labels": ["x"]}, "The labels must be numbers."),
        ({"points": ["x"]}, "The points must be numbers."),
        ({"points": [[1, np.nan]]}, "The points contain a value that is not finite (NaN or infinity)."),
        ({"points": [1, 2]}, "Points must be a list of (x, y) pairs, not an array of shape (2,)."),
        ({"points": [[1, 2, 3]]}, "Points must be a list of (x, y) pairs, not an array of shape (1, 3)."),
        ({"points": [[[1, 2]]]}, "Points must be a list of (x, y) pairs, not an array of shape (1, 1, 2)."),
        ({"points": [[1, 2]] * 101}, f"An object takes at most 100 points on one frame, not 101. {FULL}"),
        ({"points": [[3, 4], [99.5, 140]]}, "The point (99.5, 140) lies outside the image of 120×90 px."),
        ({"box": [1, 2, 3]}, "A box has 4 numbers (x_min, y_min, x_max, y_max), not 3."),
        ({"box": "x"}, "The box corners must be numbers."),
        ({"box": [1, 2, np.inf, 4]}, "The box corners contain a value that is not finite (NaN or infinity)."),
        ({"box": [5, 2, 5, 4]}, "The box (5, 2) to (5, 4) is empty: its corners are out of order."),
        ({"box": [1, 4.5, 3, 4.5]}, "The box (1, 4.5) to (3, 4.5) is empty: its corners are out of order."),
        ({"box": [1, 2, 130, 4]}, "The box (1, 2) to (130, 4) leaves the image of 120×90 px."),
        ({"box": [121, 2, 123, 4]}, "The box (121, 2) to (123, 4) leaves the image of 120×90 px."),
        ({"box": [1, 90, 3, 93]}, "The box (1, 90) to (3, 93) leaves the image of 120×90 px."),
        ({"mask": [[1]], "points": [[1, 2]]}, "A mask stands alone: give either a mask, or points and a box."),
        ({"mask": [[1]], "box": [1, 2, 3, 4]}, "A mask stands alone: give either a mask, or points and a box."),
        ({"mask": [[1, 0], [1]]}, "The mask's rows must be of one length and hold numbers."),
        ({"mask": "x"}, "A mask is an array of numbers, not str (<U1)."),
        ({"mask": [[1, 0]]}, "The mask has 1 × 2 (height × width) px; the image has 90 × 120."),
        ({"mask": np.zeros((90, 120))}, "The mask is empty: no pixel belongs to the object."),
        ({"mask": np.full((90, 120), np.nan)}, "The mask contains a value that is not finite (NaN or infinity)."),
        (
            {"mask": np.full((90, 120), -3)},
            "The mask is ambiguous: it holds integers down to -3; use 0 and 1, or booleans.",
        ),
        (
            {"mask": np.full((90, 120), 3.0)},
            "The mask is ambiguous: its floating-point numbers go from 3 to 3, but only probabilities in [0, 1] have a "
            "meaning. Give logits as `logits > 0`, and 0 and 255 as integers.",
        ),
        (
            {"mask": np.full((90, 120), -0.5)},
            "The mask is ambiguous: its floating-point numbers go from -0.5 to -0.5, but only probabilities in [0, 1] "
            "have a meaning. Give logits as `logits > 0`, and 0 and 255 as integers.",
        ),
    ],
)
def test_a_refusal_is_this_sentence(prompt: dict[str, object], text: str) -> None:
    with pytest.raises(PromptError, match=f"^{re.escape(text)}$"):
        check_prompt(Prompt(**prompt), 90, 120)  # type: ignore[arg-type]


def test_points_without_labels_are_positive_and_a_prompt_may_have_points_and_a_box() -> None:
    checked = check_prompt(Prompt(points=[[1, 2], [3, 4]], box=[1, 2, 30, 40]), 90, 120)
    assert (checked.points.dtype, checked.labels.dtype) == (np.float32, np.int64)
    assert (checked.points.tolist(), checked.labels.tolist()) == ([[1, 2], [3, 4]], [1, 1])
    assert checked.box is not None
    assert checked.box.tolist() == [1, 2, 30, 40]
    assert (checked.mask, checked.remarks) == (None, ())


def test_a_box_alone_and_a_mask_alone_have_no_points() -> None:
    box = check_prompt(Prompt(points=[], box=[[1, 2], [30, 40]]), 90, 120)
    mask = check_prompt(Prompt(mask=np.ones((90, 120), int)), 90, 120)
    for checked in (box, mask):
        assert (checked.points.shape, checked.points.dtype) == ((0, 2), np.float32)
        assert (checked.labels.shape, checked.labels.dtype) == ((0,), np.int64)
    assert (mask.box, mask.remarks) == (None, ())
    assert mask.mask is not None
    assert (mask.mask.dtype, bool(mask.mask.all())) == (np.bool_, True)


def test_what_was_moved_is_counted_by_points() -> None:
    checked = check_prompt(Prompt(points=[[120, 91], [3, 4], [-1, 5]], box=[-1, 2, 30, 40]), 90, 120)
    assert checked.remarks == (
        "2 point(s) just outside the image of 120×90 px were moved to its border.",
        "The box was clipped to the image of 120×90 px.",
    )
    assert checked.points.tolist() == [[119, 89], [3, 4], [0, 5]]


def test_points_add_up_to_a_hundred() -> None:
    check_number_of_points(100)
    check_number_of_points(1, 99)
    sentence = f"An object takes at most 100 points on one frame, not 101: it has 1 already. {FULL}"
    with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
        check_number_of_points(100, 1)


def test_a_text_that_is_no_label_is_called_by_its_name() -> None:
    check_label("x" * 256, "phrase")
    with pytest.raises(PromptError, match=r"^The phrase has 257 characters; at most 256 are allowed\.$"):
        check_label("x" * 257, "phrase")
    with pytest.raises(PromptError, match=r"^The phrase contains the control character U\+0007\.$"):
        check_label("a\x07b\x00", "phrase")


@pytest.mark.parametrize(("value", "inside"), [(0.5, False), (0.51, True), (0.0, False), (1.0, True)])
def test_a_probability_above_a_half_is_inside(value: float, inside: bool) -> None:
    mask = np.zeros((90, 120))
    mask[0, 0], mask[5, 7] = 1.0, value
    checked = check_prompt(Prompt(mask=mask), 90, 120).mask
    assert checked is not None
    assert bool(checked[5, 7]) is inside


def test_labels_may_come_as_a_column() -> None:
    checked = check_prompt(Prompt(points=[[1, 2], [3, 4]], labels=[[1], [0]]), 90, 120)
    np.testing.assert_array_equal(checked.labels, [1, 0])
