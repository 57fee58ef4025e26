"""What one browser looks at and composes: the state behind a page."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sam_msgs.msg import ConceptInstance

from sam_ros.console.ros.commands import Commands
from sam_ros.console.ros.draft import Box, Draft, Example, Point, read_step
from sam_ros.console.ros.frames import Frame, crop_of
from sam_ros.console.ros.link import TrackerLink
from sam_ros.console.web.guard import Bucket
from sam_ros.conversions.outlines import Outline, outline_of
from sam_ros.runtime.errors import RefusedError

__all__ = ["Found", "View"]

COMMANDS = 8.0  # a second of one browser
MOST_EXAMPLES = 16


@dataclass(frozen=True)
class Found:
    """An instance that a search found.

    Attributes:
        instance: As the tracker answered.
        outline: Of its mask.
        chosen: Whether it is to be tracked.
    """

    instance: ConceptInstance
    outline: Outline
    chosen: bool

    @classmethod
    def of(cls, instance: ConceptInstance) -> Found:
        """Take an instance of an answer; it is chosen if it is not tracked already."""
        outline = outline_of(crop_of(instance.mask), instance.box.x_offset, instance.box.y_offset)
        return cls(instance, outline, chosen=not instance.object_id)


class View:
    """The state of one page; only its own event loop uses it.

    Args:
        links: Returns the trackers by their names.
        read_only: Whether the page only shows.

    Attributes:
        frame: The frame that is held; None while the picture is live.
        frozen: Whether the operator froze it, and not a mark.
        draft: The prompt that is being composed; None: none.
        preview: Outline of what the draft would give.
        selected: The object that is selected; 0: none.
        hidden: Objects that the picture leaves out.
        examples: Boxes for the next search, drawn in `frame`, which they hold.
        found: What the newest search found, in `searched`.
        searched: The frame of the newest search.
        at_once: Whether each mark is sent without asking.
    """

    def __init__(self, links: Callable[[], Mapping[str, TrackerLink]], *, read_only: bool) -> None:
        self._links = links
        self.read_only = read_only
        self._bucket = Bucket(COMMANDS)
        self._name = ""
        self.at_once = False
        self._forget()

    def _forget(self) -> None:
        self.frame: Frame | None = None
        self.frozen = False
        self.draft: Draft | None = None
        self.preview: Outline = ()
        self.selected = 0
        self.hidden: frozenset[int] = frozenset()
        self.examples: tuple[Example, ...] = ()
        self.found: tuple[Found, ...] = ()
        self.searched: Frame | None = None

    # --- Which tracker ------------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The trackers' names."""
        return list(self._links())

    @property
    def link(self) -> TrackerLink | None:
        """The tracker that is looked at: the chosen one, else the first; None where there is none."""
        links = self._links()
        if self._name not in links:
            self._name = next(iter(links), "")
        return links.get(self._name)

    @property
    def commands(self) -> Commands:
        """What can be asked of the tracker, a bounded number of times a second.

        Raises:
            RefusedError: There is no tracker, or too much is asked.
        """
        link = self.link
        if link is None:
            raise RefusedError("No tracker was found yet.")
        if not self._bucket.take():
            raise RefusedError("Too many commands at once: wait a moment.")
        return Commands(link, read_only=self.read_only)

    def choose(self, name: str) -> bool:
        """Look at a tracker; return whether it is another one than before."""
        if name == self._name or name not in self._links():
            return False
        self._name = name
        self._forget()
        return True

    # --- The held frame -----------------------------------------------------------------------------------------------

    def hold(self, data: Any) -> Frame:
        """Hold the frame that the browser names by its number and stamp.

        Raises:
            RefusedError: It is not kept any more.
        """
        number, stamp = (data.get("number"), data.get("stamp")) if isinstance(data, dict) else (None, None)
        frame = self.frame
        if frame is None or frame.number != number:
            frame = self.link.frames.frame(number) if self.link is not None and isinstance(number, int) else None
        if frame is None or str(frame.stamp) != stamp:
            raise RefusedError("The picture that you marked is not at hand any more. Try again in the live one.")
        if self.frame is not frame:
            self.examples = ()  # they are of another image
        self.frame = frame
        return frame

    def release(self) -> None:
        """Go on live; what was composed is dropped."""
        self.frame = self.draft = None
        self.frozen = False
        self.preview = self.examples = ()

    def let_go(self) -> None:
        """Go on live where only a press that marked nothing held the frame."""
        if self.draft is None:
            self._forgo()

    def _forgo(self) -> None:
        """Go on live where only a mark that came to nothing held the frame."""
        if not self.frozen and not self.examples:
            self.release()

    # --- Marks --------------------------------------------------------------------------------------------------------

    def mark(self, tool: str, data: Any) -> bool:
        """Take a mark in the picture: select an object, begin or extend a prompt, or add an example.

        Args:
            tool: The tool in use.
            data: What the browser sent.

        Returns:
            Whether the prompt changed.

        Raises:
            RefusedError: The mark makes no sense.
        """
        if self.read_only:
            raise RefusedError("This console is read-only.")
        frame = self.hold(data)
        positive = data.get("positive") is not False
        step = read_step(str(data.get("kind")), data, positive=positive)
        if tool == "example" and isinstance(step, Box):
            if len(self.examples) >= MOST_EXAMPLES:
                raise RefusedError(f"At most {MOST_EXAMPLES} examples.")
            self.examples = (*self.examples, Example(step, positive))
            return False
        draft = self.draft
        if draft is None or draft.frame is not frame or self.at_once:
            hit = frame.object_at(step.x, step.y, without=self.hidden) if isinstance(step, Point) else None
            if hit is not None and hit.id != self.selected and positive:
                self.selected = hit.id
                self._forgo()
                return False
            object_id = self.selected or (hit.id if hit is not None else 0)
            if isinstance(step, Point) and not positive and not object_id:
                self._forgo()
                raise RefusedError("A negative click corrects an object: click it first, then what does not belong.")
            draft = Draft(frame, object_id)
            self.selected = object_id
        self.draft = draft.with_step(step)
        return True

    def undo(self) -> None:
        """Take the newest step back; with the last one the prompt ends, and the picture is live again."""
        if self.draft is None:
            self._keep_examples(self.examples[:-1])
            return
        self.draft = self.draft.undone()
        self.preview = ()
        if not self.draft.steps:
            self.draft = None
            self._forgo()

    def cancel(self) -> None:
        """Drop the prompt, then the search, then the selection; the picture is live again."""
        if self.draft is not None or self.frame is not None:
            self.release()
        elif self.found or self.examples:
            self.forget_search()
        else:
            self.selected = 0

    def take(self) -> Draft | None:
        """Take the prompt out to send it: it can't be sent twice, and marks that come meanwhile begin a new one."""
        draft, self.draft, self.preview = self.draft, None, ()
        return draft

    def put_back(self, draft: Draft) -> bool:
        """Compose a prompt on that was refused, unless the operator has begun something else; return whether."""
        if self.draft is None and self.frame is draft.frame:
            self.draft = draft
        return self.draft is draft

    def call(self, label: str) -> None:
        """Say what to call the object that is being prompted."""
        if self.draft is not None:
            self.draft = replace(self.draft, label=label)

    def hide(self, object_id: int) -> None:
        """Leave an object out of the picture, or show it again."""
        self.hidden = self.hidden ^ {object_id}

    def keep_objects(self, ids: Collection[int]) -> None:
        """Forget the selection, and what is hidden, of all objects but these: the others are not tracked any more."""
        self.hidden = self.hidden & set(ids)
        if self.selected not in ids:
            self.selected = 0

    def forget_object(self, object_id: int) -> None:
        """Forget the selection of an object that was removed, and whether it was hidden."""
        self.keep_objects({self.selected, *self.hidden} - {object_id})

    # --- Searches -----------------------------------------------------------------------------------------------------

    def forget_search(self) -> None:
        """Drop what was found, and the examples; if nothing else holds the frame, the picture is live again."""
        self.found, self.searched = (), None
        self._keep_examples(())

    def _keep_examples(self, examples: tuple[Example, ...]) -> None:
        if not self.examples:
            return
        self.examples = examples
        if self.draft is None:
            self._forgo()

    def choose_found(self, index: int, chosen: bool) -> None:
        """Choose an instance to be tracked, or not."""
        if 0 <= index < len(self.found):
            changed = replace(self.found[index], chosen=chosen)
            self.found = (*self.found[:index], changed, *self.found[index + 1 :])

    def unchoose(self, instance: ConceptInstance) -> None:
        """Say that an instance is tracked already."""
        self.found = tuple(replace(item, chosen=False) if item.instance is instance else item for item in self.found)
