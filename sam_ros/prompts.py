"""From messages to prompts."""

from __future__ import annotations

from sam_msgs.msg import LabeledPoint
from sam_msgs.srv import AddPrompt

from sam_core import CapacityError, NoFrameError, Prompt, PromptError, UnknownObjectError
from sam_ros.encodings import ImageError, mask_image_to_array
from sam_ros.errors import RefusedError
from sam_ros.inference import StoppedError
from sam_ros.messages import nanoseconds

__all__ = ["REFUSALS", "prompt_of"]

# What a command raises that cannot be done: told to the caller, and no fault of the tracker.
REFUSALS = (PromptError, UnknownObjectError, CapacityError, NoFrameError, ImageError, StoppedError, RefusedError)


def prompt_of(request: AddPrompt.Request) -> Prompt:
    """Return the prompt of a service request; what is wrong with it the stream says, which knows the image.

    Raises:
        PromptError: The box has neither 0 nor 4 numbers.
        ImageError: The mask's message cannot be read, or is not mono8 or 8UC1.
    """
    points: list[LabeledPoint] = request.points
    box = list(request.box)
    if len(box) not in (0, 4):
        raise PromptError(f"a box is four numbers [x_min, y_min, x_max, y_max] or none, not {len(box)}")
    has_mask = request.mask.width or request.mask.height or len(request.mask.data)
    return Prompt(
        points=[[point.x, point.y] for point in points] or None,
        labels=[point.label for point in points] or None,
        box=box or None,
        mask=mask_image_to_array(request.mask) if has_mask else None,
        stamp=nanoseconds(request.stamp) or None,
    )
