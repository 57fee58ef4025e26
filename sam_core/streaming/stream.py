"""One camera's stream: frames in, masks out, for as long as it runs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_core.devices import upload
from sam_core.errors import StampError
from sam_core.isolation import inference
from sam_core.streaming.arbiter import Arbiter
from sam_core.streaming.click_views import ClickViews
from sam_core.streaming.describe import empty_result, with_statuses
from sam_core.streaming.frame_tracker import FrameTracker
from sam_core.streaming.global_motion import measure_movement
from sam_core.streaming.history import Frame, FrameHistory, frame_bytes
from sam_core.streaming.images import image_tensor
from sam_core.streaming.network import TrackingNetwork
from sam_core.streaming.object_memory import ObjectMemory, awaited, memory_of, recalled
from sam_core.streaming.planning import PromptPlan, PromptPlanner
from sam_core.streaming.postprocessing import fill_holes
from sam_core.streaming.prompt import Prompt, check_label
from sam_core.streaming.prompt_decoder import PromptDecoder
from sam_core.streaming.result import FrameResult, ObjectInfo, StreamReport
from sam_core.streaming.settings import StreamSettings
from sam_core.streaming.state import StreamState
from sam_core.streaming.stepping import carry, step


class Stream:
    """Tracks prompted objects through a camera's frames. Not thread-safe: one thread owns a stream.

    The memory bank is allocated when the stream opens, and the history of frames is bounded, so nothing grows with the
    number of frames. An exception in any method leaves the objects and the frames as they were.

    A prompt is applied to the newest frame, or to an earlier one that is still in the history. In the latter case the
    object is carried through the frames since, a few per step, and appears in results once it has caught up.

    A live stream differs from the official offline predictor in what it cannot know:

    - the number of frames: object pointers always reach `max_object_pointers` (16) frames back, and their age is
      measured in that unit. Offline, a video of fewer frames uses its own length, and so gives other numbers.
    - the future: no frame is tracked again, except for a corrected object, see `add_prompt`.

    Args:
        network: SAM 2 in evaluation mode; shared with other streams.
        settings: bounds and choices.
    """

    def __init__(self, network: TrackingNetwork, settings: StreamSettings) -> None:
        self._network = network
        self._settings = settings
        self.mask_threshold = settings.mask_threshold
        self.track_rules = settings.track_rules
        self._keep_pictures = False
        with torch.inference_mode():
            self._tracker = FrameTracker(network, settings)
        views = ClickViews(network, self._tracker.encode) if settings.click_augmentation == "views" else None
        area = settings.fill_hole_area
        decoder = PromptDecoder(network, views, (lambda logits: fill_holes(logits, area)) if area else None)
        self._planner = PromptPlanner(self._tracker, decoder, settings)
        self._state = StreamState(
            FrameHistory(settings.history_frames, settings.history_bytes, settings.stamp_tolerance)
        )

    # --- frames ----------------------------------------------------------------------------------------------------

    @inference
    def step(
        self,
        image: NDArray[np.uint8] | Tensor,
        stamp: Any = None,
        source: Any = None,
        *,
        arbiter: Arbiter | None = None,
    ) -> FrameResult:
        """Track all objects on the next frame.

        Args:
            image: (H, W, 3) uint8 RGB, any size; an array of any strides or a tensor on any device. It must not change
                afterwards if `keep_pictures` is on.
            stamp: anything; it comes back in the result. Prompts find frames by it.
            source: anything; it stays with the frame in the history.
            arbiter: decides on the masks of objects before they are shown and remembered; it is not asked on a frame
                without objects.

        Returns:
            The objects on this frame, in the order of their ids; without those that are still catching up.

        Raises:
            ImageError: not such an image.
        """
        frame = self._new_frame(image, stamp, source)
        self._carry_last_frame()
        self._carry()
        objects = [target for target in self._state.objects.values() if target.shown is not None]
        if not objects:
            self._push(frame, self._state)
            return empty_result(frame, self._network, self.mask_threshold)
        rule = None
        if arbiter is not None:
            rule = partial(arbiter, frame, tuple(target.object_id for target in objects))
        threshold, rules = self.mask_threshold, self.track_rules
        done = step(self._tracker, objects, frame, rule, threshold=threshold, rules=rules)
        frame = replace(frame, objects=dict(zip(done.result.object_ids, done.known, strict=True)))
        self._push(frame, self._state.with_objects(done.objects))
        return done.result

    def _new_frame(self, image: NDArray[np.uint8] | Tensor, stamp: Any, source: Any) -> Frame:
        pixels = upload(image_tensor(image), self._network.device)
        resized = self._network.resize(pixels[None])[0]
        before, follows = self._state.history.newest, self._settings.policy.follows_camera
        movement = measure_movement(None if before is None else before.movement, resized) if follows else None
        frame = Frame(
            number=self._state.newest + 1,
            stamp=stamp,
            size=(pixels.shape[0], pixels.shape[1]),
            features=self._tracker.encode(resized),
            image=resized if self._settings.needs_images else None,
            picture=image if self.keep_pictures else None,
            source=source,
            run=self._state.history.run_of(stamp),
            movement=movement,
        )
        return frame if self.keep_pictures else frame.without_trunk()

    def _push(self, frame: Frame, state: StreamState) -> None:
        """Take effect: the last thing that a step does."""
        needed_from = min((target.latest.frame + 1 for target in state.behind), default=None)
        self._state = replace(state, history=state.history.pushed(frame, needed_from))

    # --- catching up -----------------------------------------------------------------------------------------------

    def _carry_last_frame(self) -> None:
        """Carry the versions that miss only the newest frame, so that they take part in the next one."""
        if any(target.latest.frame == self._state.newest - 1 for target in self._state.behind):
            self._state = carry(self._tracker, self._state, self._state.newest - 1, until=self._state.newest)

    def _carry(self) -> None:
        """Carry versions that are behind towards the newest frame, those furthest behind first.

        At most `catch_up_frames` frames are gone through, but a frame that is about to leave the history does not wait.
        What was carried stays so, whatever becomes of the step.
        """
        budget, first_kept = self._settings.catch_up_frames, self._state.history.first_kept()
        while behind := [target for target in self._state.behind if target.latest.frame < self._state.newest]:
            last = min(target.latest.frame for target in behind)
            if budget <= 0 and last + 1 >= first_kept:
                break
            self._state = carry(self._tracker, self._state, last, until=self._state.newest + 1)
            budget -= 1

    # --- objects ---------------------------------------------------------------------------------------------------

    @inference
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

        A correction is combined with what the object already has on that frame: its mask, and the points and the box
        given there before. A mask replaces both. A correction on an earlier frame is worked out beside the object,
        which goes on as it was until the corrected version has caught up; it ends as if it had been given in time, as
        far as the history holds the frames before it.

        The prompt is planned, then committed: it takes effect whole or, after an exception, not at all.

        Args:
            prompt: points and a box, or a mask, on the frame of its number or stamp, or on the newest one. A stamp that
                no frame has means the nearest frame within `stamp_tolerance`; the result has that frame's stamp.
            object_id: the object to correct; None for a new one.
            label: what to call it, at most 256 characters without control characters; empty keeps what it was called.
            or_newest: where no frame matches the stamp, apply the prompt to the newest one.
            renew: forget how the object looked and begin anew with this prompt, under its id. For one that was lost and
                is found again: all its recent memories may say that it is absent, and one correction among them is
                outvoted.

        Returns:
            That one object on the frame of the prompt.

        Raises:
            NoFrameError: no frame was seen yet.
            StampError: no frame of this stamp, or number, is at hand; the message names the oldest that is.
            UnknownObjectError: no such object.
            PromptError: the prompt makes no sense on that frame, has too many points, or its label is no label.
            CapacityError: a new object, but all `max_objects` places, or all ids, are taken; or too many corrections of
                earlier frames at once.
        """
        frame = self.frame_of(prompt, or_newest=or_newest)
        plan = self._planner.plan(
            self._state, frame, prompt, object_id, label, threshold=self.mask_threshold, renew=renew
        )
        self._commit(plan)
        return plan.result

    def _commit(self, plan: PromptPlan) -> None:
        """Take effect: one exchange of references, after everything that can fail."""
        self._state = self._state.with_object(plan.target, plan.known)

    def frame_of(self, prompt: Prompt, *, or_newest: bool = False) -> Frame:
        """Return the frame that a prompt is given on; see `add_prompt`."""
        history = self._state.history
        if prompt.frame is None:
            return history.frame_at(prompt.stamp, or_newest=or_newest)
        newest = history.frame_at()
        frame = history.numbered(prompt.frame) or (newest if or_newest else None)
        if frame is None:
            oldest = newest if history.oldest is None else history.oldest
            raise StampError(
                f"Frame {prompt.frame} is not at hand: the oldest is {oldest.number}, the newest {newest.number}."
            )
        return frame

    @inference
    def recondition(self, object_id: int, frame: int) -> bool:
        """Keep an object's memory of a frame as that of a conditioning frame: for good, among the newest of these.

        Args:
            object_id: the object.
            frame: number of a frame on which the object was tracked.

        Returns:
            Whether it was done. It is not where the frame has left the history, where the object was not shown on it,
            began later, or is being corrected, and where the stream has no room for it (`reconditioning`).

        Raises:
            UnknownObjectError: no such object.
        """
        target, seen = self._state.find(object_id), self._state.history.numbered(frame)
        version = target.shown
        if version is None or target.upcoming is not None or seen is None or not self._settings.reconditioning:
            return False
        if object_id not in seen.objects or frame in version.index.conditioning.frames or frame < version.first_frame:
            return False
        version = self._tracker.recondition(version, object_id, seen)
        self._state = self._state.with_object(replace(target, shown=version), {})
        return True

    def rename(self, object_id: int, label: str) -> None:
        """Give an object another label, as for `add_prompt`; empty for none. Nothing else changes.

        Raises:
            UnknownObjectError, PromptError: no such object; the label is no label.
        """
        target = self._state.find(object_id)
        check_label(label)
        self._state = self._state.with_objects([replace(target, label=label)])

    @inference
    def memory_of(self, object_id: int) -> ObjectMemory:
        """Copy what is remembered of an object for good: its conditioning memories (see `sam_core.saved_objects`).

        Raises:
            UnknownObjectError: no such object.
        """
        return memory_of(self._tracker, self._state.find(object_id))

    @inference
    def recall(self, memory: ObjectMemory, object_id: int | None = None) -> int:
        """Look for an object in the coming frames by a memory of it, from another stream with the same weights.

        It is `LOST` until it is seen `found_after` times in a row; until then it remembers nothing else.

        Args:
            memory: of the object.
            object_id: its id here; None for a new one.

        Returns:
            Its id.

        Raises:
            CapacityError, ObjectIdError: all places are taken; the id is taken, or none.
            PromptError, ValueError: the label is no label; the memories do not fit to the network.
        """
        target = recalled(self._tracker, self._state, memory, object_id, self.max_objects)
        self._state = self._state.with_object(target, {})
        return target.object_id

    @inference
    def look_for(self, prompt: Prompt, frame: Frame, label: str = "") -> FrameResult:
        """Begin to track an object by a prompt on a frame that has left the history.

        What became of the object since is not known, so it is looked for in the coming frames as by `recall`: it is
        `LOST` until it is seen `found_after` times in a row.

        Args:
            prompt: on that frame.
            frame: of this stream; whoever holds it keeps its features.
            label: as for `add_prompt`.

        Returns:
            The object on that frame.

        Raises:
            PromptError, CapacityError: as `add_prompt` says.
        """
        plan = self._planner.plan(self._state, frame, prompt, None, label, threshold=self.mask_threshold, renew=False)
        target = awaited(plan.target, self._state.newest)
        plan = PromptPlan(target, {}, with_statuses(plan.result, [target.status]))
        self._commit(plan)
        return plan.result

    def reserve_ids(self, largest: int) -> None:
        """Give new objects ids above `largest`: something outside the stream uses those up to it."""
        self._state = replace(self._state, next_id=max(self._state.next_id, largest + 1))

    def remove(self, object_id: int) -> None:
        """Forget an object; its id is never used again.

        Raises:
            UnknownObjectError: no such object.
        """
        self._state.find(object_id)
        self._state = self._state.without(object_id)

    def reset(self) -> None:
        """Forget all objects; ids and frame numbers go on."""
        for object_id in self._state.objects:
            self.remove(object_id)

    # --- facts -----------------------------------------------------------------------------------------------------

    @property
    def history(self) -> FrameHistory:
        """The newest frames, with what is known of objects on them. Any thread may keep and read it."""
        return self._state.history

    @property
    def objects(self) -> tuple[ObjectInfo, ...]:
        """The objects that are tracked, in the order of their ids."""
        return tuple(target.info(self._state.newest) for target in self._state.objects.values())

    @property
    def max_objects(self) -> int:
        """Capacity."""
        return self._settings.max_objects

    @property
    def mask_size(self) -> int:
        """Side of the network's masks, in places of their grid."""
        return self._network.mask_size

    @property
    def device(self) -> torch.device:
        """Where the stream's tensors are."""
        return self._network.device

    @property
    def keep_pictures(self) -> bool:
        """Whether frames of the history have the camera's image, as a detector needs it; off at first.

        With SAM 3's tracker the newest frame has the trunk's map, too, from which a detector that shares the trunk goes
        on.
        """
        return self._keep_pictures

    @keep_pictures.setter
    def keep_pictures(self, keep: bool) -> None:
        self._keep_pictures = keep
        if not keep:
            self._state = replace(self._state, history=self._state.history.without_pictures())

    def report(self) -> StreamReport:
        """Say how full the stream is."""
        state, settings, bank = self._state, self._settings, self._tracker.bank
        features = frame_bytes(self._network.feature_shapes(), self._network.dtype)
        return StreamReport(
            frames=state.newest + 1,
            objects=len(state.objects),
            max_objects=settings.max_objects,
            spatial_slots_used=state.used_slots(),
            spatial_slots=bank.slots,
            history_frames=len(state.history),
            max_history_frames=max(1, min(settings.history_frames, settings.history_bytes // features)),
            bytes_allocated=bank.nbytes,
            history_bytes=state.history.nbytes,
        )
