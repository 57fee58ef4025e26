"""From masks that were found in a processed image to tracked objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sam_core import CapacityError, PromptError, StampError
from sam_core.streaming import CroppedMask, Frame, Prompt
from sam_ros.tracking.session import Session

__all__ = ["Tracked", "track"]

SAME = 0.7  # IoU of masks from which on they are of one object

LEFT = (
    "the image has left the tracker's memory of images: ask for fewer points, pause the tracker (~/set_paused) for the "
    "search, or raise the parameter history_frames"
)


@dataclass(frozen=True)
class Tracked:
    """What became of a mask.

    Attributes:
        object_id: The object that it is tracked as; 0 where it is not.
        problem: Why it is not tracked; empty where it is.
        full: Whether it is not tracked because the tracker has no room.
    """

    object_id: int = 0
    problem: str = ""
    full: bool = False


def track(session: Session, frame: Frame, mask: CroppedMask, taken: Sequence[int] = ()) -> Tracked:
    """Let the stream track a mask from the image that it was found in (inference thread).

    A mask that is nearly that of an object on the image is this object, and begins none.

    Args:
        session: The session.
        frame: The image.
        mask: The mask.
        taken: Objects that other masks are tracked as already.
    """
    now = session.stream.history.numbered(frame.number)
    if now is None:
        return Tracked(problem=LEFT)
    for object_id in now.objects:
        seen = now.mask_of(object_id, session.stream.mask_threshold)
        if object_id not in taken and seen is not None and seen.overlap(mask) >= SAME:
            return Tracked(object_id)
    try:
        result = session.stream.add_prompt(Prompt(mask=mask.full(), frame=frame.number))
    except CapacityError as error:
        return Tracked(problem=str(error), full=True)
    except StampError:
        return Tracked(problem=LEFT)
    except PromptError as error:
        return Tracked(problem=str(error))
    return Tracked(result.object_ids[0])
