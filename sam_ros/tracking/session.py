"""A stream and the commands behind the prompt services and the click topic.

Everything here runs in the inference thread, which owns the stream.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sam_core import FrameResult, Prompt, StampError
from sam_core.concepts import CroppedMask, Sightings
from sam_core.streaming import Stream
from sam_ros.conversions.logits import logits_at
from sam_ros.conversions.stamps import format_stamp

__all__ = ["Answer", "Session"]


@dataclass(frozen=True)
class Answer:
    """One object's row of a result."""

    result: FrameResult
    row: int

    def logit_at(self, row: int, column: int) -> float:
        """Return the mask logit at a pixel; minus infinity outside of the image and where the mask is not."""
        height, width = self.result.image_size
        inside = 0 <= row < height and 0 <= column < width
        if not inside or not self.result.masks[self.row, row, column]:
            return -math.inf
        return float(logits_at(self.result, [row], [column])[self.row, 0])


@dataclass
class Session:
    """A stream and what it last said about each object.

    Attributes:
        stream: The stream.
        newest: What was last said about the newest image, by object id; to find the object under a click.
        sightings: Where objects were seen lately, so that what a detector finds can be matched to them; None while
            there is no detector.
    """

    stream: Stream
    newest: dict[int, Answer] = field(default_factory=dict)
    sightings: Sightings | None = None

    def step(self, image: NDArray[np.uint8], stamp: int) -> FrameResult:
        """Track all objects into a new image."""
        result = self.stream.step(image, stamp)
        self.newest = {object_id: Answer(result, row) for row, object_id in enumerate(result.object_ids)}
        return result

    def add_prompt(self, prompt: Prompt, object_id: int | None, label: str, *, or_newest: bool = False) -> int:
        """Start an object (`object_id` None) or correct one, in the image of the prompt's stamp (None: the newest).

        The one place that decides about stamps: a prompt is given in the image that its stamp names. Where the stream
        has that image's features no more, it is given in the newest one, if the caller allows it, or refused.

        Returns:
            The object's id.

        Raises:
            StampError: The image of the stamp is not at hand.
            PromptError, CapacityError, UnknownObjectError, NoFrameError: As `Stream.add_prompt` says.
        """
        try:
            result = self.stream.add_prompt(prompt, object_id=object_id, label=label, or_newest=or_newest)
        except StampError as error:
            raise StampError(
                f"the image of {format_stamp(prompt.stamp)} was not processed, or too long ago; the oldest at hand has "
                f"the stamp {format_stamp(self.stream.oldest_stamp)}, the newest processed image has the stamp "
                f"{format_stamp(self.stream.newest_stamp)}. A stamp of zero means the newest image"
            ) from error
        return self._remember(result)

    def click(self, x: float, y: float, stamp: int | None = None) -> tuple[int, bool]:
        """Apply one positive click: it corrects the object whose mask it hits, and starts a new object elsewhere.

        Args:
            x: Column in px.
            y: Row in px.
            stamp: Stamp of the clicked image in ns; where it is not at hand, and for None, the newest is meant (many
                viewers put the time of the click into its stamp). The masks that a click can hit are always the newest.

        Returns:
            The object's id, and whether the object is new.

        Raises:
            What `add_prompt` raises but StampError.
        """
        hit = self.object_at(x, y)
        prompt = Prompt(points=[[x, y]], labels=[1], stamp=stamp)
        return self._remember(self.stream.add_prompt(prompt, object_id=hit, or_newest=True)), hit is None

    def _remember(self, result: FrameResult) -> int:
        """Keep a prompt's answer, for clicks until the next frame and for detections, and return the object's id."""
        object_id = result.object_ids[0]
        if result.stamp == self.stream.newest_stamp:
            self.newest[object_id] = Answer(result, 0)
        if self.sightings is not None:
            self.sightings.note(result.stamp, object_id, CroppedMask.of(result.masks[0].cpu().numpy()))
        return object_id

    def object_at(self, x: float, y: float) -> int | None:
        """Return the object whose mask holds the pixel; where several do, the one with the highest logit."""
        if not (np.isfinite(x) and np.isfinite(y)):
            return None
        column, row = int(np.floor(x)), int(np.floor(y))
        hit, best = None, -math.inf
        for object_id, answer in self.newest.items():
            logit = answer.logit_at(row, column)
            if logit > best:
                hit, best = object_id, logit
        return hit

    def remove(self, object_id: int) -> None:
        """Stop tracking one object.

        Raises:
            UnknownObjectError: There is no such object.
        """
        self.stream.remove(object_id)
        self.newest.pop(object_id, None)
        if self.sightings is not None:
            self.sightings.forget(object_id)

    def reset(self) -> None:
        """Forget all objects."""
        for info in self.stream.objects:
            self.remove(info.object_id)
