"""One camera's stream: frames in, masks out, for as long as it runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_core.backends.cuda_graphs import FrameGraphs
from sam_core.devices import upload
from sam_core.errors import CapacityError, NoFrameError, StampError, UnknownObjectError
from sam_core.sam2 import Sam2, SamOutput
from sam_core.streaming.answers import Answers
from sam_core.streaming.bank import MemoryBank
from sam_core.streaming.beside import Beside
from sam_core.streaming.describe import empty_result, frame_result
from sam_core.streaming.edges import refined
from sam_core.streaming.frames import Frame, FrameRing
from sam_core.streaming.images import image_tensor
from sam_core.streaming.objects import Clicks, TrackedObject
from sam_core.streaming.overlaps import Overlaps, colours_of
from sam_core.streaming.policy import Observation
from sam_core.streaming.prompt import Prompt, check_prompt
from sam_core.streaming.result import FrameResult, ObjectInfo, StreamReport
from sam_core.streaming.settings import StreamSettings
from sam_core.streaming.tracking import Tracked

# Earlier logits that go back in as a prompt are clamped, as the official predictor does.
_PROMPT_LOGIT_BOUND = 32.0


@dataclass(frozen=True)
class _Answer:
    """What a prompt made of one object: what the network says, what to show of it, what was observed."""

    target: TrackedObject
    tracked: Tracked
    shown: Tracked
    seen: list[Observation]


class Stream:
    """Tracks prompted objects through a camera's frames. Not thread-safe: one thread owns a stream.

    All memory is taken when the stream opens; nothing grows with the number of frames. An exception in any method
    leaves the stream as it was.

    A prompt is applied to the newest frame, or to the frame of its stamp. In the latter case the object is carried
    through the frames since, a few per step and beside the tracking of the others, and joins these in the results once
    it has caught up.

    A live stream differs from the official offline predictor in what it cannot know:

    - the number of frames: object pointers always reach `max_object_pointers` (16) frames back, and their age is
      measured in that unit. Offline, a video of fewer frames uses its own length, and so gives other numbers.
    - the future: no frame is tracked again but for a corrected object, see `add_prompt`.

    Args:
        model: SAM 2 in evaluation mode; shared with other streams.
        settings: bounds and choices.
    """

    def __init__(self, model: Sam2, settings: StreamSettings) -> None:
        self._model = model
        self._settings = settings
        self.mask_threshold = settings.mask_threshold
        self._objects: dict[int, TrackedObject] = {}
        self._corrections: dict[int, TrackedObject] = {}  # on their way; each will replace the object of its id
        self._next_id = 1
        self._beside = Beside(model.device)
        with torch.inference_mode():
            self._bank = MemoryBank(model, settings)
            self._overlaps = Overlaps() if settings.overlaps == "look" else None
            self._guided = settings.edges == "guided"
            self._frames = FrameRing(
                model,
                settings.history_frames,
                settings.history_bytes,
                keep_pictures=settings.keeps_pictures,
            )
            side = model.mask_size
            self._low_res = torch.zeros(len(self._bank), 1, side, side, device=model.device)
            on_gpu = settings.cuda_graphs and model.device.type == "cuda"
            self._graphs = FrameGraphs(model, self._bank, settings.max_objects, enabled=on_gpu)
            self._answers = Answers(model, self._graphs.encode, settings)

    # --- frames ------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def step(self, image: NDArray[np.uint8] | Tensor, stamp: Any = None) -> FrameResult:
        """Track all objects on the next frame.

        Args:
            image: (H, W, 3) uint8 RGB, any size; an array of any strides or a tensor on any device.
            stamp: anything; it comes back in the result.

        Returns:
            The objects on this frame, in the order of their ids; without those that are still catching up.

        Raises:
            ImageError: not such an image.
        """
        pixels = upload(image_tensor(image), self._model.device)
        picture = self._model.resize(pixels[None])[0]
        features = self._graphs.encode(picture)
        newest = self._frames.newest
        number = 0 if newest is None else newest.number + 1
        frame = Frame(number, stamp, (pixels.shape[0], pixels.shape[1]), features, picture)
        self._join()
        objects = [target for target in self._objects.values() if target.frame == number - 1]
        with self._beside.doing(self._carry) if self._behind() else nullcontext():
            tracked = self._track(objects, frame) if objects else None
        if tracked is None:
            self._frames.push(frame)
            side = self._model.image_size if self._guided else self._model.mask_size
            return empty_result(frame, side, self._model.device)
        shown, seen = self._settle(frame, objects, tracked, _observe(frame, objects, tracked, prompted=False))
        result = frame_result(frame, objects, self._refine(frame, shown), seen, self.mask_threshold)
        self._frames.push(frame)
        self._remember(objects, tracked, seen, conditioning=False)
        return result

    def _behind(self) -> list[TrackedObject]:
        """Return the objects, and corrected versions of objects, that have not come to the newest frame."""
        newest = self._newest_number()
        return [o for o in (*self._objects.values(), *self._corrections.values()) if o.frame < newest]

    def _join(self) -> None:
        """Bring up the objects that miss the newest frame alone, so that they take part in the next one."""
        if any(o.frame == self._newest_number() - 1 for o in self._behind()):
            self._carry_group(self._newest_number() - 1)
        self._replace_corrected()

    @torch.inference_mode()
    def _carry(self, budget: int | None = None) -> None:
        """Carry objects that are behind towards the newest frame, those furthest behind first.

        It touches nothing but these objects and their rows, so that the others can be tracked at the same time.

        Args:
            budget: frames to go through; `catch_up_frames` by default. A frame that is about to leave the ring does
                not wait for budget.
        """
        budget = self._settings.catch_up_frames if budget is None else budget
        oldest = self._frames.oldest
        full = len(self._frames) == self._frames.capacity
        while behind := self._behind():
            last = min(o.frame for o in behind)
            if budget <= 0 and not (full and oldest is not None and last + 1 == oldest.number):
                break
            self._carry_group(last)
            budget -= 1

    def _carry_group(self, last: int) -> None:
        """Carry those objects whose newest frame is `last` one frame further."""
        group = [o for o in self._behind() if o.frame == last]
        frame = self._frames.numbered(last + 1)
        tracked = self._track(group, frame)
        seen = _observe(frame, group, tracked, prompted=False)
        self._remember(group, tracked, seen, conditioning=False)

    def _replace_corrected(self) -> None:
        """Let corrected versions of objects that have caught up take the objects' places."""
        for object_id, corrected in list(self._corrections.items()):
            if corrected.frame == self._newest_number():
                self._bank.free(self._objects[object_id].row)
                self._objects[object_id] = self._corrections.pop(object_id)

    # --- objects -----------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def add_prompt(
        self,
        prompt: Prompt,
        object_id: int | None = None,
        label: str = "",
        *,
        or_newest: bool = False,
        renew: bool = False,
    ) -> FrameResult:
        """Begin to track an object, or correct one.

        A correction is combined with what the object already has on that frame: its mask (on the newest frame), and
        the points given there before. A mask replaces both. A correction on an earlier frame is worked out beside
        the object, which goes on as it was until the corrected one has caught up. It attends to the memories that
        are still held of the time before that frame.

        With `overlaps: look`, clicks tell the objects of a frame apart (`Answers`): if the mask of one that began there
        covers the new click it changes, too, which results show from the next frame on.

        Args:
            prompt: points and a box, or a mask; on the frame of its stamp, or on the newest one.
            object_id: the object to correct; None for a new one.
            label: what to call it; empty keeps what it was called.
            or_newest: where the frame of the stamp is not at hand, apply the prompt to the newest one.
            renew: forget how the object looked and begin anew with this prompt, under its id. For one that was lost and
                is found again: all its recent memories may say that it is absent, and one correction among them is
                outvoted.

        Returns:
            That one object on the frame of the prompt.

        Raises:
            NoFrameError: no frame was seen yet.
            StampError: the frame of the stamp is not at hand; the message names the oldest that is.
            UnknownObjectError: no such object.
            PromptError: the prompt makes no sense on that frame.
            CapacityError: a new object, but all `max_objects` places are taken; or too many corrections of earlier
                frames at once.
        """
        frame = self._frame_of(prompt, or_newest)
        checked = check_prompt(prompt, *frame.size)
        target, home = self._target_of(object_id, frame)
        try:
            begins = renew or frame.number <= target.first_frame
            if checked.mask is not None:
                clicks = Clicks(frame.number)
                output = self._answers.to_mask(frame, checked.mask)
            else:
                earlier = Clicks(-1) if renew else target.clicks
                clicks = earlier.combined_with(checked, frame.number)
                output = self._answer_clicks(target, clicks, frame, begins, renew)
            answer = self._answer(target, output, frame)
            named = replace(target, label=label or target.label)
            result = frame_result(frame, [named], answer.shown, answer.seen, self.mask_threshold)
            others = self._answer_others(target, clicks, frame)
        except BaseException:
            if home.get(target.object_id) is not target:
                self._bank.free(target.row)
            raise
        target.clicks = clicks
        target.first_frame = frame.number if begins else target.first_frame
        home[target.object_id] = target
        self._next_id = max(self._next_id, target.object_id + 1)
        conditioning = begins or self._settings.corrections_are_conditioning
        self._accept(answer, frame, conditioning=conditioning, forget_from=0 if renew else frame.number)
        for other in others:
            self._accept(other, frame, conditioning=True, forget_from=frame.number)
        for version in self._versions(target.object_id):
            version.label = label or version.label
        return result

    def remove(self, object_id: int) -> None:
        """Forget an object; its id is never used again.

        Raises:
            UnknownObjectError: no such object.
        """
        self._find(object_id)
        for version in self._versions(object_id):
            self._bank.free(version.row)
        del self._objects[object_id]
        self._corrections.pop(object_id, None)
        if self._overlaps is not None:
            self._overlaps.forget(object_id)

    def reset(self) -> None:
        """Forget all objects; ids and frame numbers go on."""
        for object_id in tuple(self._objects):
            self.remove(object_id)

    @property
    def objects(self) -> tuple[ObjectInfo, ...]:
        """The objects that are tracked, in the order of their ids."""
        newest = self._frames.newest
        return () if newest is None else tuple(o.info(newest.number) for o in self._objects.values())

    @property
    def max_objects(self) -> int:
        """Capacity."""
        return self._settings.max_objects

    @property
    def newest_stamp(self) -> Any:
        """Stamp of the newest frame; None before the first."""
        return None if self._frames.newest is None else self._frames.newest.stamp

    @property
    def oldest_stamp(self) -> Any:
        """Stamp of the oldest frame that a prompt can be given on; None before the first."""
        return None if self._frames.oldest is None else self._frames.oldest.stamp

    def report(self) -> StreamReport:
        """Say how full the stream is."""
        newest = self._frames.newest
        return StreamReport(
            frames=0 if newest is None else newest.number + 1,
            objects=len(self._objects),
            max_objects=self.max_objects,
            spatial_slots_used=self._bank.slots_used,
            spatial_slots=self._bank.slots,
            history_frames=len(self._frames),
            max_history_frames=self._frames.capacity,
            bytes_allocated=self._bank.nbytes + self._frames.nbytes + self._low_res.nbytes,
        )

    # --- whom and when a prompt means --------------------------------------------------------------------------

    def _frame_of(self, prompt: Prompt, or_newest: bool) -> Frame:
        newest, oldest = self._frames.newest, self._frames.oldest
        if newest is None or oldest is None:
            raise NoFrameError("There is no frame yet to apply a prompt to.")
        if prompt.stamp is None:
            return newest
        frame = self._frames.with_stamp(prompt.stamp)
        if frame is None and not or_newest:
            raise StampError(
                f"No frame of stamp {prompt.stamp} is at hand: the oldest is of {oldest.stamp}, the newest of "
                f"{newest.stamp}."
            )
        return frame or newest

    def _target_of(self, object_id: int | None, frame: Frame) -> tuple[TrackedObject, dict[int, TrackedObject]]:
        """Return the object to prompt, and where it is to be filed.

        An object that results show already, but that a prompt sends back to an earlier frame, is copied: the copy
        is prompted and catches up while the object itself goes on.
        """
        if object_id is None:
            row = self._bank.allocate() if len(self._objects) < self.max_objects else None
            if row is None:
                raise CapacityError(
                    f"All {self.max_objects} places are taken: remove an object, or open the stream with more."
                )
            before = Observation(frame.number - 1, predicted_iou=0.0, object_score=0.0, prompted=False)
            return TrackedObject(self._next_id, "", row, frame.number, before, Clicks(-1)), self._objects
        self._find(object_id)
        if self._versions(object_id)[-1].frame < frame.number:
            self._carry(self._frames.capacity)
            self._replace_corrected()
        latest = self._versions(object_id)[-1]
        if latest is not self._objects[object_id]:
            return latest, self._corrections
        is_shown = latest.frame == self._newest_number()
        if not is_shown or latest.frame == frame.number:
            return latest, self._objects
        row = self._bank.allocate() if len(self._corrections) < self._settings.max_corrections else None
        if row is None:
            raise CapacityError(
                f"{len(self._corrections)} corrections of earlier frames are under way: wait until they are done."
            )
        self._bank.copy(latest.row, row, before=frame.number)
        return replace(latest, row=row), self._corrections

    def _find(self, object_id: int) -> TrackedObject:
        try:
            return self._objects[object_id]
        except KeyError:
            known = ", ".join(map(str, self._objects)) or "none"
            raise UnknownObjectError(f"There is no object {object_id}; tracked are: {known}.") from None

    def _versions(self, object_id: int) -> list[TrackedObject]:
        """Return the object as results show it, and its correction under way, if any."""
        return [known[object_id] for known in (self._objects, self._corrections) if object_id in known]

    def _newest_number(self) -> int:
        return -1 if self._frames.newest is None else self._frames.newest.number

    # --- one frame, some objects -------------------------------------------------------------------------------

    def _track(self, objects: Sequence[TrackedObject], frame: Frame) -> Tracked:
        """Track objects without a prompt."""
        groups = self._bank.groups([o.row for o in objects], frame.number)
        return self._graphs.track(frame.features, groups, remember=self._settings.policy.considers(frame.number))

    def _settle(
        self, frame: Frame, objects: Sequence[TrackedObject], tracked: Tracked, seen: list[Observation]
    ) -> tuple[Tracked, list[Observation]]:
        """Return what to show of a frame, once it is settled which object overlapping masks belong to."""
        if self._overlaps is None or len(objects) < 2:
            return tracked, seen
        ids = [o.object_id for o in objects]
        colours = colours_of(frame.picture, self._model.mask_size)
        return self._overlaps.settle(ids, tracked, seen, colours, self.mask_threshold)

    def _refine(self, frame: Frame, tracked: Tracked) -> Tracked:
        """Return what to show of a frame, masks ending where its picture's edges are."""
        if not self._guided:
            return tracked
        return replace(tracked, low_res=refined(tracked.low_res[:, 0], frame.picture, self.mask_threshold)[:, None])

    def _answer_clicks(
        self, target: TrackedObject, clicks: Clicks, frame: Frame, begins: bool, renew: bool
    ) -> SamOutput:
        previous = None
        if target.frame == frame.number and not renew:  # its mask on this frame is at hand
            previous = self._low_res[target.row][None].clamp(-_PROMPT_LOGIT_BOUND, _PROMPT_LOGIT_BOUND)
        elif begins:
            return self._answers.to_first_clicks(frame, clicks, self._clicks_beside(target, frame))
        if begins:
            embedding = self._model.embed_without_memory(frame.features)
        else:
            places = self._bank.places([target.row], frame.number)
            embedding = self._model.embed_with_memory(frame.features, self._bank.read(places))
        return self._answers.to_clicks(frame, clicks, embedding, previous, begins=begins)

    def _clicks_beside(self, target: TrackedObject, frame: Frame) -> list[Clicks]:
        """Return the clicks that other objects were given on a frame."""
        others = (o.clicks for o in self._objects.values() if o.object_id != target.object_id)
        return [clicks for clicks in others if clicks.frame == frame.number]

    def _answer_others(self, target: TrackedObject, clicks: Clicks, frame: Frame) -> list[_Answer]:
        """Answer the points again by which other objects began on this frame and whose masks cover the new clicks."""
        answers: list[_Answer] = []
        if not (clicks.labels == 1).any():
            return answers
        for other in self._objects.values():
            began_here = other.first_frame == other.frame == other.clicks.frame == frame.number
            by_points = len(other.clicks.points) > 0 and other.clicks.box is None and not other.clicks.corrects
            if other.object_id == target.object_id or not began_here or not by_points:
                continue
            beside = [c for c in self._clicks_beside(other, frame) if c is not target.clicks] + [clicks]
            output = self._answers.without_others(frame, other.clicks, self._low_res[other.row][None], beside)
            if output is not None:
                answers.append(self._answer(other, output, frame))
        return answers

    def _answer(self, target: TrackedObject, output: SamOutput, frame: Frame) -> _Answer:
        """Make of an object's mask what is to be shown and remembered."""
        memory = self._model.encode_memory(frame.features, output.low_res, output.object_score, from_prompt=True)
        tracked = Tracked.of(output, memory)
        seen = _observe(frame, [target], tracked, prompted=True)
        return _Answer(target, tracked, self._refine(frame, tracked), seen)

    def _accept(self, answer: _Answer, frame: Frame, *, conditioning: bool, forget_from: int) -> None:
        """Remember an answer, instead of what the object remembers from frame `forget_from` on."""
        target = answer.target
        if self._overlaps is not None:
            mask = answer.shown.low_res[0, 0] > self.mask_threshold
            self._overlaps.prompted(target.object_id, mask.flatten(), colours_of(frame.picture, mask.shape[0]))
        self._bank.forget_from(target.row, forget_from)
        self._remember([target], answer.tracked, answer.seen, conditioning=conditioning)

    def _remember(
        self,
        objects: Sequence[TrackedObject],
        tracked: Tracked,
        seen: Sequence[Observation],
        *,
        conditioning: bool,
    ) -> None:
        rows = [o.row for o in objects]
        self._bank.write(rows, tracked.memory, tracked.pointer, seen, conditioning=conditioning)
        self._low_res[upload(torch.tensor(rows), self._model.device)] = tracked.low_res
        for target, observation in zip(objects, seen, strict=True):
            target.last_seen = observation


def _observe(frame: Frame, objects: Sequence[TrackedObject], tracked: Tracked, *, prompted: bool) -> list[Observation]:
    """Fetch the scores of a frame's objects; the one place where a step waits for the device."""
    ious, scores = torch.stack((tracked.iou.float(), tracked.score[:, 0].float())).tolist()
    return [
        Observation(frame.number, iou, score, prompted, 0 if prompted or score > 0 else target.last_seen.absent_for + 1)
        for target, iou, score in zip(objects, ious, scores, strict=True)
    ]
