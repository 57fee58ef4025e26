"""A stream and the commands behind the prompt services and the click topic.

Everything here runs in the inference thread, which owns the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from sam_core import FrameResult, Prompt, StampError
from sam_core.association import (
    ConceptResult,
    ConceptTracker,
    Ending,
    EventKind,
    ObjectEvent,
    ObjectStanding,
    changes,
    merged,
    standings,
)
from sam_core.saved_objects import SavedObject, recall, saved_from
from sam_core.streaming import Frame, Stream, Tracker
from sam_ros.conversions.stamps import format_stamp

__all__ = ["Drive", "Session"]

# Tracks all objects on the next image (array, stamp, source), and does what else belongs to its step.
Drive: TypeAlias = "Callable[[ConceptTracker, NDArray[np.uint8], int, Any], ConceptResult]"


@dataclass
class Session:
    """A stream, the concepts that are tracked in it, and who watches it.

    Attributes:
        stream: The stream.
        watch: Called after each step, with what came of it; None while nobody watches.
        drive: Makes the step of a frame, where a detector searches it; None: `ConceptTracker.step`.
        shows_tentative: Whether results have objects that may still be withdrawn.
        concepts: The tracks that were found by a concept.
    """

    stream: Stream
    watch: Callable[[ConceptResult], None] | None = None
    drive: Drive | None = None
    shows_tentative: bool = True
    concepts: ConceptTracker = field(init=False)
    _standings: dict[int, ObjectStanding] = field(init=False, default_factory=dict)  # at the last `take_events`
    _ended: dict[int, Ending] = field(init=False, default_factory=dict)  # what somebody removed since

    def __post_init__(self) -> None:
        """Begin without tracks."""
        self.concepts = ConceptTracker(self.stream)

    def step(self, image: NDArray[np.uint8], stamp: int, source: Any) -> ConceptResult:
        """Track all objects on the next image (see `Stream.step`)."""
        drive = ConceptTracker.step if self.drive is None else self.drive
        outcome = drive(self.concepts, image, stamp, source)
        if self.shows_tentative:
            return outcome
        tentative = {i for i, track in outcome.tracks.items() if not track.confirmed}
        return replace(outcome, result=merged(outcome.result, {}, tentative))

    def add_prompt(self, prompt: Prompt, object_id: int | None, label: str, *, or_newest: bool = False) -> FrameResult:
        """Start an object (`object_id` None) or correct one, in the image of the prompt's stamp (None: the newest).

        Returns:
            That object on the image that was used.

        Raises:
            StampError: The image of the stamp is not at hand.
            PromptError, CapacityError, UnknownObjectError, NoFrameError: As `Stream.add_prompt` says.
        """
        try:
            return self.stream.add_prompt(prompt, object_id=object_id, label=label, or_newest=or_newest)
        except StampError as error:
            raise self._not_at_hand(prompt.stamp) from error

    def frame_at(self, stamp: int | None, *, or_newest: bool = False) -> Frame:
        """Return the processed image of a stamp in ns (None: the newest), as `add_prompt` finds it.

        Raises:
            StampError: It is not at hand.
            NoFrameError: No image was processed yet.
        """
        try:
            return self.stream.history.frame_at(stamp, or_newest=or_newest)
        except StampError as error:
            raise self._not_at_hand(stamp) from error

    def _not_at_hand(self, stamp: Any) -> StampError:
        history = self.stream.history
        assert history.oldest is not None
        assert history.newest is not None
        return StampError(
            f"the image of {format_stamp(stamp)} was not processed, or too long ago; the oldest at hand has the stamp "
            f"{format_stamp(history.oldest.stamp)}, the newest processed image has the stamp "
            f"{format_stamp(history.newest.stamp)}. A stamp of zero means the newest image"
        )

    def remove(self, object_id: int, reason: str) -> None:
        """Forget an object.

        Raises:
            UnknownObjectError: There is no such object.
        """
        self.stream.remove(object_id)
        self._ended[object_id] = Ending(reason)

    def reset(self, reason: str) -> None:
        """Forget all objects."""
        self._ended |= {info.object_id: Ending(reason) for info in self.stream.objects}
        self.stream.reset()

    def saved(self, object_id: int, tracker: Tracker) -> SavedObject:
        """Copy what is to be saved of an object.

        Raises:
            UnknownObjectError: There is no such object.
        """
        track = self.concepts.tracks.get(object_id)
        return saved_from(tracker, self.stream, object_id, "" if track is None else track.concept)

    def saved_all(self, tracker: Tracker) -> list[SavedObject]:
        """Copy what is to be saved of all objects, but those that may still be withdrawn."""
        tentative = {i for i, track in self.concepts.tracks.items() if not track.confirmed}
        wanted = [info.object_id for info in self.stream.objects if info.object_id not in tentative]
        return [self.saved(object_id, tracker) for object_id in wanted]

    def recall(self, saved: SavedObject, *, keep_id: bool) -> int:
        """Look for a saved object, also by the concept that found it; return its id.

        Raises:
            CapacityError, ObjectIdError: As `Stream.recall` says.
        """
        object_id = recall(saved, self.stream, keep_id=keep_id)
        if saved.concept:
            self.concepts.adopt(object_id, saved.concept)
        return object_id

    def take_events(self) -> list[tuple[ObjectEvent, Header]]:
        """Return what happened to objects since the last call, with the header of the image in which it was noticed."""
        before, history = self._standings, self.stream.history
        after = standings(self.stream, self.concepts.tracks, tentative=self.shows_tentative)
        events = changes(before, after, {**self.concepts.ended, **self._ended})
        self._standings, self._ended = after, {}
        told = []
        for event in events:
            first = event.standing.first_frame if event.kind is EventKind.APPEARED else None
            frame = (None if first is None else history.numbered(first)) or history.newest
            told.append((event, Header() if frame is None else frame.source))
        return told

    def click(self, x: float, y: float, stamp: int | None = None) -> tuple[int, bool]:
        """Apply one positive click: it corrects the object whose mask it hits, and starts a new object elsewhere.

        Args:
            x: Column in px.
            y: Row in px.
            stamp: Stamp of the clicked image in ns, whose masks the click can hit; where it is not at hand, and for
                None, the newest image is meant (many viewers put the time of the click into its stamp).

        Returns:
            The object's id, and whether the object is new.

        Raises:
            What `add_prompt` raises but StampError.
        """
        frame = self.stream.history.frame_at(stamp, or_newest=True)
        hit = frame.object_at(x, y, self.stream.mask_threshold)
        prompt = Prompt(points=[[x, y]], labels=[1], frame=frame.number)
        return self.stream.add_prompt(prompt, object_id=hit).object_ids[0], hit is None
