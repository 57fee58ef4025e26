"""A prompt: what an operator or another node says about an object."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_core.errors import PromptError
from sam_core.margin import clip_boxes, clip_points, is_far
from sam_core.streaming.mask_prompt import check_mask, to_array

MAX_LABEL = 256  # characters: a label is repeated in every result
MAX_POINTS = 100  # of one object on one frame: the decoder's time and memory grow with them
_DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # Unicode's bidirectional controls


@dataclass(frozen=True)
class Prompt:
    """Points and a box, or a mask, in pixels of the image that was seen.

    Points and boxes that leave the image by at most 2 % of its side, or 4 px, are clipped to it; a result's `remarks`
    say so. Those farther outside are refused.

    Attributes:
        points: (K, 2) xy in px; at most `MAX_POINTS`, with those that the object already has on the frame.
        labels: (K,) 1 for a positive click, 0 for a negative one; all positive where None.
        box: (4,) x_min, y_min, x_max, y_max in px.
        mask: (H, W) of the image's size: bool, integers that are positive on the object, or probabilities in [0, 1]
            that are above 0.5 on it; an array, a tensor, a PIL image or nested lists. Logits are refused: give
            `logits > 0`. A mask stands alone.
        stamp: stamp of the image that was prompted; the newest image where None.
        frame: number of the frame that was prompted, as a result names it; goes before `stamp`.
    """

    points: ArrayLike | None = None
    labels: ArrayLike | None = None
    box: ArrayLike | None = None
    mask: ArrayLike | None = None
    stamp: Any = None
    frame: int | None = None


@dataclass(frozen=True)
class CheckedPrompt:
    """A prompt that was checked against its image.

    Attributes:
        points: (K, 2) float32 xy in px.
        labels: (K,) int64.
        box: (4,) float32 or None.
        mask: (H, W) bool or None.
        remarks: what was changed to make the prompt fit the image, in full sentences.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    box: NDArray[np.float32] | None
    mask: NDArray[np.bool_] | None
    remarks: tuple[str, ...] = ()


def check_prompt(prompt: Prompt, height: int, width: int) -> CheckedPrompt:
    """Check a prompt against the size of its image, in px.

    Raises:
        PromptError: with a sentence that says what is wrong.
    """
    if prompt.mask is not None:
        if prompt.points is not None or prompt.box is not None:
            raise PromptError("A mask stands alone: give either a mask, or points and a box.")
        return CheckedPrompt(_no_points(), np.zeros(0, np.int64), None, check_mask(prompt.mask, height, width))
    if prompt.points is None and prompt.box is None:
        raise PromptError("The prompt is empty: give points, a box or a mask.")
    given, labels = _check_points(prompt.points, prompt.labels)
    points = _clip_points(given, height, width)
    moved = int((points != given).any(axis=1).sum())
    remarks = []
    if moved:
        remarks.append(f"{moved} point(s) just outside the image of {width}×{height} px were moved to its border.")
    box = None
    if prompt.box is not None:
        corners = _check_box(prompt.box)
        box = _clip_box(corners, height, width)
        if (box != corners).any():
            remarks.append(f"The box was clipped to the image of {width}×{height} px.")
    if box is None and len(points) == 0:
        raise PromptError("The prompt is empty: give points, a box or a mask.")
    return CheckedPrompt(points, labels, box, None, tuple(remarks))


def check_label(label: str, name: str = "label") -> None:
    """Refuse a text that is too long to be repeated in every result, or that a terminal would not show as it is.

    Args:
        label: the text.
        name: what to call it in the message.

    Raises:
        PromptError: it is longer than `MAX_LABEL`, or contains a control character.
    """
    if len(label) > MAX_LABEL:
        raise PromptError(f"The {name} has {len(label)} characters; at most {MAX_LABEL} are allowed.")
    control = next((sign for sign in label if _is_control(sign)), None)
    if control is not None:
        raise PromptError(f"The {name} contains the control character U+{ord(control):04X}.")


def _is_control(sign: str) -> bool:
    """Tell control characters, line ends, lone surrogates and changes of the writing direction from text."""
    return unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(sign) in _DIRECTIONS


def check_number_of_points(count: int, before: int = 0) -> None:
    """Refuse too many points.

    Args:
        count: points of a prompt.
        before: points that its object already has on the frame.

    Raises:
        PromptError: there are more than `MAX_POINTS` in all.
    """
    if before + count > MAX_POINTS:
        already = f": it has {before} already" if before else ""
        raise PromptError(
            f"An object takes at most {MAX_POINTS} points on one frame, not {before + count}{already}. Give a mask, or "
            "fewer points."
        )


def _no_points() -> NDArray[np.float32]:
    return np.zeros((0, 2), np.float32)


def _floats(values: ArrayLike, what: str) -> NDArray[np.float32]:
    try:
        array = np.asarray(to_array(values), dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(f"The {what} must be numbers.") from error
    if not np.isfinite(array).all():
        raise PromptError(f"The {what} contain a value that is not finite (NaN or infinity).")
    return array


def _check_points(points: ArrayLike | None, labels: ArrayLike | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    xy = _no_points() if points is None else _floats(points, "points")
    if xy.size == 0:
        xy = xy.reshape(0, 2)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise PromptError(f"Points must be a list of (x, y) pairs, not an array of shape {xy.shape}.")
    check_number_of_points(len(xy))
    kinds = np.ones(len(xy)) if labels is None else _floats(labels, "labels").reshape(-1)
    if len(kinds) != len(xy):
        raise PromptError(f"There are {len(xy)} points but {len(kinds)} labels.")
    if not np.isin(kinds, (0, 1)).all():
        raise PromptError(f"A label is 1 (positive) or 0 (negative), not {kinds[~np.isin(kinds, (0, 1))][0]:g}.")
    return xy, kinds.astype(np.int64)


def _clip_points(points: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    clipped = clip_points(points, height, width)
    for x, y in points[is_far(points, clipped, height, width)]:
        raise PromptError(f"The point ({x:g}, {y:g}) lies outside the image of {width}×{height} px.")
    return clipped


def _check_box(box: ArrayLike) -> NDArray[np.float32]:
    corners = _floats(box, "box corners").reshape(-1)
    if len(corners) != 4:
        raise PromptError(f"A box has 4 numbers (x_min, y_min, x_max, y_max), not {len(corners)}.")
    x_min, y_min, x_max, y_max = corners
    if x_max <= x_min or y_max <= y_min:
        raise PromptError(
            f"The box ({x_min:g}, {y_min:g}) to ({x_max:g}, {y_max:g}) is empty: its corners are out of order."
        )
    return corners


def _clip_box(box: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    clipped = clip_boxes(box[None], height, width)
    x_min, y_min, x_max, y_max = clipped[0]
    if is_far(box[None], clipped, height, width)[0] or x_max <= x_min or y_max <= y_min:
        raise PromptError(
            f"The box ({box[0]:g}, {box[1]:g}) to ({box[2]:g}, {box[3]:g}) leaves the image of {width}×{height} px."
        )
    return clipped[0]
