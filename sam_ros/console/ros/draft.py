"""A prompt that is being composed on one frame, step by step, before it is sent."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from sam_msgs.msg import ImagePrompt, LabeledBox, LabeledPoint
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_ros.console.ros.frames import Frame
from sam_ros.conversions.encodings import array_to_image
from sam_ros.runtime.errors import RefusedError

__all__ = ["Box", "Draft", "Example", "Point", "Step", "Stroke", "read_step"]

MOST_STEPS = 64
MOST_VERTICES = 2000  # of one stroke
LARGEST_BRUSH = 512.0  # px


@dataclass(frozen=True)
class Point:
    """A click, px; `positive` where the object is there."""

    x: float
    y: float
    positive: bool


@dataclass(frozen=True)
class Box:
    """A box around the object, px."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True)
class Example:
    """A box around an example of what is searched for, or of what is not meant."""

    box: Box
    positive: bool

    def message(self) -> LabeledBox:
        """Return it as a message."""
        label = LabeledBox.POSITIVE if self.positive else LabeledBox.NEGATIVE
        box = self.box
        return LabeledBox(x_min=box.x_min, y_min=box.y_min, x_max=box.x_max, y_max=box.y_max, label=label)


@dataclass(frozen=True)
class Stroke:
    """A line of the brush, or of the eraser: x, y, x, y, ... in px, and its radius in px."""

    vertices: tuple[float, ...]
    radius: float
    erases: bool


Step: TypeAlias = "Point | Box | Stroke"


@dataclass(frozen=True)
class Draft:
    """A prompt so far. Each step gives a new one.

    Attributes:
        frame: Where the prompt is given; it carries the frame's stamp.
        object_id: The object to correct; 0 for a new one.
        steps: What was clicked, drawn and brushed.
        label: What to call a new object.
    """

    frame: Frame
    object_id: int = 0
    steps: tuple[Step, ...] = ()
    label: str = ""

    def with_step(self, step: Step) -> Draft:
        """Add a step; a second box replaces the first.

        Raises:
            RefusedError: It does not go together with the steps before, or there are too many.
        """
        if self.steps and isinstance(step, Stroke) != isinstance(self.steps[-1], Stroke):
            raise RefusedError("A brushed mask does not go together with points or a box: undo one of them first.")
        kept = tuple(item for item in self.steps if not (isinstance(step, Box) and isinstance(item, Box)))
        if len(kept) >= MOST_STEPS:
            raise RefusedError(f"A prompt has at most {MOST_STEPS} steps.")
        return replace(self, steps=(*kept, step))

    def undone(self) -> Draft:
        """Take the newest step back."""
        return replace(self, steps=self.steps[:-1])

    @property
    def points(self) -> list[LabeledPoint]:
        """The clicks as messages."""
        return [
            LabeledPoint(x=step.x, y=step.y, label=LabeledPoint.POSITIVE if step.positive else LabeledPoint.NEGATIVE)
            for step in self.steps
            if isinstance(step, Point)
        ]

    @property
    def box(self) -> list[float]:
        """The box as four numbers, or nothing."""
        boxes = [step for step in self.steps if isinstance(step, Box)]
        return [boxes[-1].x_min, boxes[-1].y_min, boxes[-1].x_max, boxes[-1].y_max] if boxes else []

    def mask(self, width: int, height: int) -> NDArray[np.uint8]:
        """Return what was brushed, 255 on the object, uint8 (H, W)."""
        mask = np.zeros((height, width), np.uint8)
        for step in self.steps:
            if isinstance(step, Stroke):
                line = np.array(step.vertices, np.float64).reshape(-1, 1, 2).round().astype(np.int32)
                colour = 0 if step.erases else 255
                cv2.polylines(mask, [line], False, colour, max(1, round(2 * step.radius)))
                for x, y in (line[0, 0], line[-1, 0]):
                    cv2.circle(mask, (int(x), int(y)), round(step.radius), colour, cv2.FILLED)
        return mask

    def mask_message(self) -> Image:
        """Return what was brushed as a message, of width 0 where nothing was.

        Raises:
            RefusedError: All of it was erased again.
            ImageError: The frame's image cannot be read.
        """
        if not self.steps or not isinstance(self.steps[0], Stroke):
            return Image()
        height, width = self.frame.rgb().shape[:2]
        mask = self.mask(width, height)
        if not mask.any():
            raise RefusedError("Nothing is left of the brushed mask.")
        return array_to_image(mask, "mono8", Header())

    def image_prompt(self) -> ImagePrompt:
        """Return the prompt for a still image."""
        return ImagePrompt(points=self.points, box=self.box, mask=self.mask_message())


def read_step(kind: str, data: Any, *, positive: bool = True) -> Step:
    """Read what a browser sent. Points are bounded here; the tracker checks that they are in the image.

    Args:
        kind: "point", "box" or "stroke".
        data: Its numbers.
        positive: Whether the object is there; false for the eraser, too.

    Raises:
        RefusedError: It is nothing of this kind.
    """
    numbers = _numbers(data.get("at") if isinstance(data, dict) else None)
    if kind == "point" and len(numbers) == 2:
        return Point(numbers[0], numbers[1], positive)
    if kind == "box" and len(numbers) == 4:
        (left, right), (top, bottom) = sorted(numbers[0::2]), sorted(numbers[1::2])
        if right - left >= 1 and bottom - top >= 1:
            return Box(left, top, right, bottom)
        raise RefusedError("The box is smaller than a pixel.")
    if kind == "stroke" and numbers and len(numbers) % 2 == 0:
        radius = _numbers([data.get("radius")])
        if radius and 0 < radius[0] <= LARGEST_BRUSH:
            return Stroke(tuple(numbers), radius[0], not positive)
    raise RefusedError("The browser sent a prompt that cannot be read.")


def _numbers(data: Any) -> list[float]:
    """Read a list of finite numbers of moderate size; nothing where it is something else."""
    if not isinstance(data, list) or len(data) > 2 * MOST_VERTICES:
        return []
    good = all(isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x) for x in data)
    return [float(x) for x in data] if good and all(abs(x) < 1e5 for x in data) else []
