"""From masks that were found in a processed image to tracked objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sam_core import CapacityError, PromptError
from sam_core.streaming import CroppedMask, Frame, Prompt
from sam_ros.tracking.session import Session

__all__ = ["Tracked", "track"]

SAME = 0.7  # IoU of masks from which on they are of one object


@dataclass(frozen=True)
class Tracked:
    """What became of a mask.

    Attributes:
        object_id: The object that it is tracked as; 0 where it is not.
        problem: Why it is not tracked; empty where it is.
        full: Whether it is not tracked because the tracker has no room.
        looked_for: Whether the image had left the stream's history, so that the object is lost until it is found.
    """

    object_id: int = 0
    problem: str = ""
    full: bool = False
    looked_for: bool = False


def track(session: Session, frame: Frame, mask: CroppedMask, taken: Sequence[int] = ()) -> Tracked:
    """Let the stream track a mask from the image that it was found in (inference thread).

    A mask that is nearly that of an object on the image is this object, and begins none. A search takes longer than the
    stream keeps images, so the image may have left its history; then the object is looked for on the coming images.

    Args:
        session: The session.
        frame: The image; whoever holds it keeps it for its objects.
        mask: The mask.
        taken: Objects that other masks are tracked as already.
    """
    stream = session.stream
    now = stream.history.numbered(frame.number)
    known = frame if now is None else now
    others = {info.object_id for info in stream.objects} - set(taken)
    for object_id in sorted(known.objects.keys() & others):
        seen = known.mask_of(object_id, stream.mask_threshold)
        if seen is not None and seen.overlap(mask) >= SAME:
            return Tracked(object_id)
    try:
        prompt = Prompt(mask=mask.full(), frame=frame.number)
        result = stream.look_for(prompt, frame) if now is None else stream.add_prompt(prompt)
    except CapacityError as error:
        return Tracked(problem=str(error), full=True)
    except PromptError as error:
        return Tracked(problem=str(error))
    return Tracked(result.object_ids[0], looked_for=now is None)
