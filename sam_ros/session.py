"""A stream with what an operator may do to it: the commands behind the services and the click topic.

Everything here runs in the inference thread, which owns the stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from sam_core import FrameResult, Prompt
from sam_core.streaming import Stream

__all__ = ["Session", "StampError", "check_stamp"]

NEWEST = 0  # a prompt's stamp that means: the newest processed image


class StampError(ValueError):
    """Say that a prompt cannot be applied to the image of its stamp."""


def format_stamp(stamp: int) -> str:
    """Write nanoseconds as ROS tools show a stamp: seconds with nine decimals."""
    return f"{stamp // 10**9}.{stamp % 10**9:09d} s"


def check_stamp(stamp: int, newest: int | None) -> None:
    """Decide whether a prompt with this stamp can be applied: the one place that knows.

    Today a prompt belongs to the newest processed image, so only its stamp (or none) is accepted.

    Args:
        stamp: Stamp of the prompted image in ns, or NEWEST.
        newest: Stamp of the newest processed image in ns; None before the first: the stream refuses the prompt then.

    Raises:
        StampError: The prompt was given in another image.
    """
    if stamp in (NEWEST, newest) or newest is None:
        return
    raise StampError(
        f"the prompt was given in the image of {format_stamp(stamp)}, but only the newest processed image can be "
        f"prompted: its stamp is {format_stamp(newest)}; leave the prompt's stamp zero to mean that one"
    )


@dataclass
class Session:
    """A stream and what it last said about each object.

    Attributes:
        stream: The stream.
        logits: Newest mask logits (H, W) by object id, to find the object under a click.
    """

    stream: Stream
    logits: dict[int, torch.Tensor] = field(default_factory=dict)

    def step(self, image: NDArray[np.uint8], stamp: int) -> FrameResult:
        """Track all objects into a new image."""
        result = self.stream.step(image, stamp)
        self.logits = dict(zip(result.object_ids, result.mask_logits, strict=True))
        return result

    def add_prompt(self, prompt: Prompt, object_id: int | None, label: str, stamp: int = NEWEST) -> int:
        """Start an object (`object_id` None) or correct one, in the image of the given stamp.

        Returns:
            The object's id.

        Raises:
            StampError: The stamp is not that of the newest processed image.
            PromptError, CapacityError, UnknownObjectError, NoFrameError: As `Stream.add_prompt` says.
        """
        check_stamp(stamp, self.stream.newest_stamp)
        result = self.stream.add_prompt(prompt, object_id=object_id, label=label)
        self.logits[result.object_ids[0]] = result.mask_logits[0]
        return result.object_ids[0]

    def click(self, x: float, y: float, stamp: int = NEWEST) -> tuple[int, bool]:
        """Apply one positive click: it corrects the object whose mask it hits, and starts a new object elsewhere.

        Args:
            x: Column in px of the newest image.
            y: Row in px of the newest image.
            stamp: Stamp of the clicked image in ns, or NEWEST.

        Returns:
            The object's id, and whether the object is new.

        Raises:
            What `add_prompt` raises.
        """
        prompt = Prompt(points=[[x, y]], labels=[1])
        hit = self.object_at(x, y)
        return self.add_prompt(prompt, hit, "", stamp), hit is None

    def object_at(self, x: float, y: float) -> int | None:
        """Return the object whose mask holds the pixel; where several do, the one with the highest logit."""
        if not (np.isfinite(x) and np.isfinite(y)):
            return None
        column, row = int(np.floor(x)), int(np.floor(y))
        hit, best = None, self.stream.mask_threshold
        for object_id, logits in self.logits.items():
            height, width = logits.shape
            if 0 <= row < height and 0 <= column < width:
                logit = float(logits[row, column])
                if logit > best:
                    hit, best = object_id, logit
        return hit

    def remove(self, object_id: int) -> None:
        """Stop tracking one object.

        Raises:
            UnknownObjectError: There is no such object.
        """
        self.stream.remove(object_id)
        self.logits.pop(object_id, None)

    def reset(self) -> None:
        """Forget all objects."""
        self.stream.reset()
        self.logits.clear()
