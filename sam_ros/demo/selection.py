"""Which objects the demo tracks: points and boxes from its command line."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from sam_ros.camera.sources import CLIPS

__all__ = ["CLIP_SELECTIONS", "SCENE_SELECTIONS", "Selection", "read_box", "read_point"]


@dataclass(frozen=True)
class Selection:
    """One object in one image, by points or by a box.

    Attributes:
        label: What to call it.
        points: (x, y) px on the object.
        box: (x_min, y_min, x_max, y_max) px around the object; empty: none.
    """

    label: str
    points: tuple[tuple[float, float], ...] = ()
    box: tuple[float, ...] = ()


# The object of each shipped clip, in its first second.
CLIP_SELECTIONS = {"cup": Selection("cup", box=(302.0, 122.0, 425.0, 388.0))}
assert CLIP_SELECTIONS.keys() == CLIPS.keys()
# An object of a rendered scene during its first three seconds.
SCENE_SELECTIONS = {"scene": Selection("green turtle", points=((546.0, 147.0),))}


def read_point(text: str) -> tuple[float, float]:
    """Read "X,Y".

    Raises:
        argparse.ArgumentTypeError: It is something else.
    """
    x, y = _numbers(text, "X,Y")
    return x, y


def read_box(text: str) -> tuple[float, float, float, float]:
    """Read "X1,Y1,X2,Y2", the upper left and the lower right corner.

    Raises:
        argparse.ArgumentTypeError: It is something else, or the corners are in the wrong order.
    """
    x1, y1, x2, y2 = _numbers(text, "X1,Y1,X2,Y2")
    if x1 >= x2 or y1 >= y2:
        raise argparse.ArgumentTypeError(f"'{text}' must have X1 < X2 and Y1 < Y2, in px from the upper left corner")
    return x1, y1, x2, y2


def _numbers(text: str, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != form.count(",") + 1 or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"'{text}' is not {form} in px")
    return numbers
