"""From messages to prompts."""

from __future__ import annotations

from sam_msgs.msg import ImagePrompt, LabeledPoint
from sam_msgs.srv import AddPrompt

from sam_core import Prompt, PromptError
from sam_core.streaming.prompt import check_number_of_points
from sam_ros.conversions.encodings import mask_image_to_array
from sam_ros.conversions.stamps import nanoseconds

__all__ = ["prompt_of"]


def prompt_of(request: AddPrompt.Request | ImagePrompt) -> Prompt:
    """Return the prompt of a service request or of a message. Who knows the image checks the rest.

    Raises:
        PromptError: The box has neither 0 nor 4 numbers, or there are too many points.
        ImageError: The mask's message cannot be read, or is not mono8 or 8UC1.
    """
    points: list[LabeledPoint] = request.points
    check_number_of_points(len(points))  # before each of them becomes Python objects
    box = list(request.box)
    if len(box) not in (0, 4):
        raise PromptError(f"a box is four numbers [x_min, y_min, x_max, y_max] or none, not {len(box)}")
    has_mask = request.mask.width or request.mask.height or len(request.mask.data)
    return Prompt(
        points=[[point.x, point.y] for point in points] or None,
        labels=[point.label for point in points] or None,
        box=box or None,
        mask=mask_image_to_array(request.mask) if has_mask else None,
        stamp=None if isinstance(request, ImagePrompt) else nanoseconds(request.stamp) or None,
    )
