"""Points and box of one object on one frame, as prompts add to them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sam_core import Prompt, PromptError
from sam_core.streaming.clicks import Clicks
from sam_core.streaming.prompt import check_label, check_prompt


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


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ({}, "The prompt is empty: give points, a box or a mask."),
        ({"points": []}, "The prompt is empty: give points, a box or a mask."),
        ({"points": [[1, 2]], "labels": [1, 0]}, "There are 1 points but 2 labels."),
        ({"points": [[1, 2], [3, 4]], "labels": [1, 7]}, "A label is 1 (positive) or 0 (negative), not 7."),
        ({"box": [1, 2, 3]}, "A box has 4 numbers (x_min, y_min, x_max, y_max), not 3."),
        ({"mask": np.full((90, 120), 3.0)}, "in [0, 1] have a meaning. Give logits as `logits > 0`, and 0 and 255 as"),
    ],
)
def test_a_refusal_is_this_sentence(prompt: dict[str, object], text: str) -> None:
    with pytest.raises(PromptError, match=re.escape(text)):
        check_prompt(Prompt(**prompt), 90, 120)  # type: ignore[arg-type]


def test_labels_may_come_as_a_column() -> None:
    checked = check_prompt(Prompt(points=[[1, 2], [3, 4]], labels=[[1], [0]]), 90, 120)
    np.testing.assert_array_equal(checked.labels, [1, 0])
