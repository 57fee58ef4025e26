"""What a prompt may look like: places near the border, and masks of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sam_core import Prompt, PromptError, Tracker
from sam_core.sam3 import Exemplars
from sam_core.sam3.errors import ExemplarError
from sam_core.streaming.prompt import check_prompt
from tests.core.pattern import frame

HEIGHT, WIDTH = 90, 400  # the margin: 4 px of the height, 8 px of the width
SQUARE = np.zeros((HEIGHT, WIDTH), bool)
SQUARE[20:40, 30:60] = True


# --- Places near the border -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "inside"),
    [
        ((0, 0), (0, 0)),
        ((399.75, 89.75), (399.75, 89.75)),  # within the last pixel: not touched
        ((400, 3), (399, 3)),  # x = width
        ((-8, -4), (0, 0)),
        ((407, 93), (399, 89)),
    ],
)
def test_a_point_just_outside_moves_to_the_border(point: Any, inside: Any) -> None:
    checked = check_prompt(Prompt(points=[point]), HEIGHT, WIDTH)
    np.testing.assert_array_equal(checked.points, [inside])
    assert bool(checked.remarks) == (point != inside)


@pytest.mark.parametrize("point", [(-8.1, 3), (3, -4.1), (408, 3), (3, 94)])
def test_a_point_far_outside_is_refused(point: Any) -> None:
    with pytest.raises(PromptError, match="outside the image of 400×90 px"):
        check_prompt(Prompt(points=[(3, 3), point]), HEIGHT, WIDTH)


def test_a_box_is_clipped_and_the_remark_says_so() -> None:
    checked = check_prompt(Prompt(box=[-7.5, 10, 408, 93.5]), HEIGHT, WIDTH)
    np.testing.assert_array_equal(checked.box, [0, 10, 400, 90])
    assert checked.remarks == ("The box was clipped to the image of 400×90 px.",)
    assert check_prompt(Prompt(box=[0, 0, 400, 90]), HEIGHT, WIDTH).remarks == ()


@pytest.mark.parametrize("box", [[-9, 10, 50, 60], [10, 10, 409, 60], [10, 10, 50, 95], [401, 10, 405, 60]])
def test_a_box_far_outside_is_refused(box: Any) -> None:
    with pytest.raises(PromptError, match="leaves the image"):
        check_prompt(Prompt(box=box), HEIGHT, WIDTH)


def test_exemplars_are_clipped_alike() -> None:
    shown = Exemplars(boxes=[[-7, 10, 408, 93], [1, 1, 9, 9]], points=[[400, 3]])
    clipped, exact = (
        shown.normalised((HEIGHT, WIDTH)),
        Exemplars(boxes=[[0, 10, 400, 90], [1, 1, 9, 9]], points=[[399, 3]]).normalised((HEIGHT, WIDTH)),
    )
    assert torch.equal(clipped.boxes, exact.boxes)
    assert torch.equal(clipped.points, exact.points)
    assert clipped.remark == "2 exemplar(s) were clipped to the image of 400 x 90 px."
    assert exact.remark == ""
    for far in (Exemplars(boxes=[[-9, 1, 9, 9]]), Exemplars(points=[[3, 95]]), Exemplars(boxes=[[401, 1, 405, 9]])):
        with pytest.raises(ExemplarError, match="outside the image"):
            far.normalised((HEIGHT, WIDTH))


def test_the_result_has_the_remark_and_a_click_on_the_edge_hits_the_object(micro_tracker: Tracker) -> None:
    stream = micro_tracker.open_stream()
    image = frame(0)
    height, width = image.shape[:2]
    stream.step(image, 0)
    whole = np.ones((height, width), bool)
    assert stream.add_prompt(Prompt(mask=whole)).remarks == ()
    clipped = stream.add_prompt(Prompt(box=[-2, 10, 60, height + 1]))
    exact = stream.add_prompt(Prompt(box=[0, 10, 60, height]))
    assert clipped.remarks == (f"The box was clipped to the image of {width}×{height} px.",)
    assert torch.equal(clipped.mask_logits, exact.mask_logits)
    assert stream.step(frame(1), 1).remarks == ()
    newest = stream.history.frame_at()
    logit = float(newest.objects[1].shown.min()) - 1  # below it, the whole image is object 1's or another's
    assert newest.object_at(width, 50, logit) == newest.object_at(width - 1, 50, logit) is not None
    assert newest.object_at(width + 5, 50, logit) is None


# --- Masks of every kind ----------------------------------------------------------------------------------------------


MASKS = {
    "bool": SQUARE,
    "uint8 255": SQUARE.astype(np.uint8) * 255,
    "labels": SQUARE.astype(np.int32) * 7,
    "float": SQUARE.astype(np.float32),
    "probabilities": np.where(SQUARE, 0.75, 0.5),
    "strided": np.repeat(SQUARE, 2, axis=1)[:, ::2],
    "lists": SQUARE.tolist(),
    "PIL 1": Image.fromarray(SQUARE),
    "PIL L": Image.fromarray(SQUARE.astype(np.uint8) * 255),
    "tensor": torch.from_numpy(SQUARE),
    "tensor with gradient": torch.from_numpy(SQUARE).float().requires_grad_(),
    "bfloat16 tensor": torch.from_numpy(SQUARE).bfloat16(),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_has_one_meaning(name: str) -> None:
    np.testing.assert_array_equal(check_prompt(Prompt(mask=MASKS[name]), HEIGHT, WIDTH).mask, SQUARE)


BAD_MASKS: dict[str, tuple[Any, str]] = {
    "logits": (np.where(SQUARE, 8.0, -8.0), r"ambiguous: .* from -8 to 8.*logits > 0"),
    "positive logits": (np.where(SQUARE, 1.5, 0.0), "ambiguous"),
    "float 255": (SQUARE * 255.0, "from 0 to 255"),
    "negative integers": (np.where(SQUARE, 1, -1), "ambiguous: it holds integers down to -1"),
    "half": (np.full((HEIGHT, WIDTH), 0.5), "mask is empty"),
    "NaN": (np.where(SQUARE, np.nan, 0), "not finite"),
    "PIL RGB": (Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)), "90 × 400 × 3"),
    "batch": (SQUARE[None], "1 × 90 × 400"),
    "ragged": ([[0, 1], [1]], "of one length"),
    "None inside": ([[None]], "array of numbers, not list"),
    "text": ("mask.png", "array of numbers, not str"),
    "RLE": ({"size": [HEIGHT, WIDTH], "counts": "abc"}, "array of numbers, not dict"),
    "complex": (SQUARE.astype(complex), "array of numbers"),
    "list of nothing": ([], "The mask has 0"),
}


@pytest.mark.parametrize("name", BAD_MASKS)
def test_what_is_no_mask_is_refused_in_a_sentence(name: str) -> None:
    mask, text = BAD_MASKS[name]
    with pytest.raises(PromptError, match=text):
        check_prompt(Prompt(mask=mask), HEIGHT, WIDTH)


def test_tensors_are_points_and_boxes_too() -> None:
    place = torch.tensor([[3.0, 4.0]], requires_grad=True)
    checked = check_prompt(Prompt(points=place, labels=torch.tensor([1])), HEIGHT, WIDTH)
    np.testing.assert_array_equal(checked.points, [[3, 4]])
    with pytest.raises(PromptError, match="not finite"):
        check_prompt(Prompt(points=[[None, 3]]), HEIGHT, WIDTH)
