"""What has to be tracked: passes over the recording, each with the objects that it carries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.prompts import ConceptPrompt, ObjectPrompts, PromptFile, digest_of

__all__ = ["DIRECTIONS", "Pass", "missing", "object_key", "parts_of", "plan_passes"]

DIRECTIONS = ("forward", "backward", "both")


@dataclass(frozen=True, eq=False)
class Pass:
    """Frames in the order in which one stream sees them.

    Attributes:
        start: First frame.
        stop: Frame before which it ends, as in `range`.
        step: 1 or -1.
        objects: What is prompted; a backward pass begins an object by the prompts of its first frame.
        concepts: What is looked for.
        found_from: Id of the first object that a concept finds.
        shown_first: Frames before `start` that are looked at for their prompts: a part of a long recording carries an
            object on by what was shown of it earlier.
        is_part: Whether other passes track the rest of the recording.
    """

    start: int
    stop: int
    step: int
    objects: tuple[ObjectPrompts, ...] = ()
    concepts: tuple[ConceptPrompt, ...] = ()
    found_from: int = 1
    shown_first: tuple[int, ...] = ()
    is_part: bool = False

    def __len__(self) -> int:
        """Return the number of frames that the stream sees."""
        return len(self.shown_first) + len(range(self.start, self.stop, self.step))

    def frame(self, position: int) -> int:
        """Return the frame at a position in the pass."""
        before = len(self.shown_first)
        return self.shown_first[position] if position < before else self.start + (position - before) * self.step

    def is_recorded(self, position: int) -> bool:
        """Tell whether the results at a position are wanted."""
        return position >= len(self.shown_first)

    def key(self, fingerprint: str) -> str:
        """Return a name that says what its results depend on.

        Args:
            fingerprint: Of recording, model and settings.
        """
        concepts = PromptFile(concepts=self.concepts).facts()["concepts"]
        frames = [self.start, self.stop, self.step, list(self.shown_first)]
        objects = [[one.object_id, *one.facts()] for one in self.objects]
        return digest_of([fingerprint, frames, objects, concepts, self.found_from])[:16]


def object_key(target: ObjectPrompts, backward: bool) -> str:
    """Return a name that says what an object's track depends on, where it depends on no other object."""
    return digest_of([backward, target.object_id, target.facts()])[:16]


def plan_passes(prompts: PromptFile, frames: int, direction: str) -> list[Pass]:
    """Plan the passes over a recording.

    Args:
        prompts: What is asked for.
        frames: Number of frames.
        direction: `forward` tracks each object from its first prompt to the end, as the node does; `backward` to the
            beginning; `both` does both.

    Raises:
        AnnotationError: A saved object or a concept is to be looked for backward.
    """
    passes = []
    if direction == "backward" and (prompts.concepts or any(one.saved is not None for one in prompts.objects)):
        raise AnnotationError(
            "Concepts and saved objects are looked for going forward: take --direction forward or both."
        )
    if direction != "backward":
        passes.append(Pass(0, frames, 1, prompts.objects, prompts.concepts, len(prompts.objects) + 1))
    begun = tuple(_first_only(one) for one in prompts.objects if one.first > 0 or direction == "backward")
    if begun and direction != "forward":
        passes.append(Pass(max(one.first for one in begun), -1, -1, begun))
    return passes


def missing(work: Pass, done: Iterable[str], *, independent: bool) -> Pass | None:
    """Return what of a pass is still to be tracked, given the keys of objects that earlier passes have tracked.

    Where objects depend on each other, or concepts find some, only the pass itself can hold its results: it is returned
    whole, and nothing is tracked again if its own store is finished.

    Args:
        work: The pass.
        done: Keys of objects, see `object_key`.
        independent: Whether an object's masks depend on no other object; else all are tracked again where one changes.
    """
    if not independent or work.concepts:
        return work
    known = set(done)
    backward = work.step < 0
    fresh = tuple(one for one in work.objects if object_key(one, backward) not in known)
    if not fresh:
        return None
    if backward:
        return replace(work, objects=fresh, start=max(one.first for one in fresh))
    return replace(work, objects=fresh)


def _first_only(target: ObjectPrompts) -> ObjectPrompts:
    """Return an object with the prompts of its first frame alone: going backward, it does not meet the others."""
    return replace(target, prompts=tuple(one for one in target.prompts if one.frame == target.first))


def parts_of(work: Pass, count: int, overlap: int) -> Sequence[Pass]:
    """Cut a forward pass into parts of equal length that overlap.

    A part looks first at the frames on which its objects, and exemplars, were shown before, so that it finds them
    again by memory.

    Args:
        work: A forward pass.
        count: Parts.
        overlap: Frames that a part has in common with the next.
    """
    total = work.stop - work.start
    cuts = [work.start + total * k // count for k in range(count + 1)]
    parts = []
    for begin, end in pairwise(cuts):
        stop = min(end + overlap, work.stop)
        known = tuple(one for one in work.objects if one.first < stop)
        prompted = {one.frame for target in known for one in target.prompts}
        prompted |= {one.frame for one in work.concepts if one.exemplars}
        shown = tuple(sorted(frame for frame in prompted if frame < begin))
        parts.append(replace(work, start=begin, stop=stop, objects=known, shown_first=shown, is_part=True))
    return parts
