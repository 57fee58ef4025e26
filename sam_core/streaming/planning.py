"""Plan what a prompt changes: whom it is for, which frame, and what the network says. Nothing takes effect here.

A plan works in a row of the memory bank that no object uses, so to drop it is to undo it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sam_core.errors import CapacityError
from sam_core.sam2 import SamOutput
from sam_core.streaming.clicks import Clicks
from sam_core.streaming.cropped_mask import CroppedMask
from sam_core.streaming.describe import frame_result, with_statuses
from sam_core.streaming.frame_tracker import FrameTracker, on_frame
from sam_core.streaming.history import Frame, ObjectOnFrame
from sam_core.streaming.masks import place_size
from sam_core.streaming.memory import Observation
from sam_core.streaming.objects import ObjectVersion, TrackedObject
from sam_core.streaming.prompt import CheckedPrompt, Prompt, check_label, check_prompt
from sam_core.streaming.prompt_decoder import PromptDecoder
from sam_core.streaming.result import FrameResult, ObjectPhase, ObjectState
from sam_core.streaming.settings import StreamSettings
from sam_core.streaming.state import StreamState
from sam_core.streaming.track_state import TrackStatus
from sam_core.streaming.tracking import Tracked


@dataclass(frozen=True)
class PromptPlan:
    """What a prompt changes, once it is committed.

    Attributes:
        target: the object with its new version.
        known: what is known of it then on frames of the history, by number.
        result: what the caller is answered.
    """

    target: TrackedObject
    known: Mapping[int, ObjectOnFrame]
    result: FrameResult


@dataclass(frozen=True)
class _Base:
    """What a prompt builds on.

    Attributes:
        frame: the prompted frame.
        version: the version to prompt, in a row of its own, with memories of the time before the frame.
        begins: whether the object has no such memories.
        earlier: what is known of the object on the frame itself; None for nothing.
        known: what became known of it on the way to the frame.
    """

    frame: Frame
    version: ObjectVersion
    begins: bool
    earlier: ObjectOnFrame | None
    known: Mapping[int, ObjectOnFrame]


class PromptPlanner:
    """Make plans.

    Args:
        tracker: the network and its memories.
        decoder: answers prompts.
        settings: of the stream.
    """

    def __init__(self, tracker: FrameTracker, decoder: PromptDecoder, settings: StreamSettings) -> None:
        self._tracker = tracker
        self._decoder = decoder
        self._settings = settings

    def plan(
        self,
        state: StreamState,
        frame: Frame,
        prompt: Prompt,
        object_id: int | None,
        label: str,
        *,
        threshold: float,
        renew: bool,
    ) -> PromptPlan:
        """Plan a prompt on a frame; see `Stream.add_prompt`.

        Raises:
            UnknownObjectError, PromptError, CapacityError: as `Stream.add_prompt` says.
        """
        check_label(label)
        checked = check_prompt(prompt, *frame.size)
        target = self._target(state, object_id, frame)
        base = self._base(state, target, frame, renew=renew)
        clicks = None
        if checked.mask is None:
            earlier = base.earlier.clicks if base.earlier is not None else None
            clicks = (earlier or Clicks()).combined_with(checked)
        output = self._answer(base, checked, clicks)
        memory = self._tracker.network.encode_memory(
            frame.features, output.to_remember, output.object_score, from_prompt=True
        )
        tracked = Tracked.of(output, memory)
        conditioning = base.begins or self._settings.corrections_are_conditioning
        outcome = self._tracker.answered(base.version, tracked, frame.number, conditioning=conditioning)
        shown, references = self._tracker.show_prompted(tracked, frame, threshold)
        (version,) = outcome.versions
        named = replace(target, label=label or target.label)
        result = frame_result(frame, [named], tracked, outcome.seen, shown)
        status = _status_after(target, result, late=frame.number < state.newest)
        result = with_statuses(result, [status])
        result = replace(result, remarks=(*checked.remarks, *self._remarks(result, threshold)))
        (known,) = on_frame(outcome, shown, result.states)
        outline = None if checked.mask is None else CroppedMask.of(checked.mask)
        known = replace(known, clicks=clicks, outline=outline)
        version = replace(version, suppressed=known.suppressed, empty=known.empty, references=references)
        self._tracker.remember(outcome)
        target = target.prompted(version, label, state.newest, status)
        return PromptPlan(target, {**base.known, frame.number: known}, result)

    def _remarks(self, result: FrameResult, threshold: float) -> tuple[str, ...]:
        """Say so where a prompt leaves its object without a mask."""
        (state,) = result.states
        if state is ObjectState.ABSENT:
            return (f"The network does not see the object in this image (presence {float(result.presence[0]):.2f}).",)
        if state is ObjectState.NO_MASK:
            height, width = place_size(result.image_size, self._tracker.network.mask_size)
            return (
                f"The network sees the object, but no pixel of its mask is above the threshold {threshold:g}: it may "
                f"be too small for this model, one place of whose masks covers {width:.1f} × {height:.1f} px.",
            )
        return ()

    def _target(self, state: StreamState, object_id: int | None, frame: Frame) -> TrackedObject:
        """Return the object that is meant; a new one has no version yet."""
        if object_id is None:
            if len(state.objects) >= self._settings.max_objects:
                raise CapacityError(
                    f"All {self._settings.max_objects} places are taken: remove an object, or raise max_objects and "
                    "begin again."
                )
            return TrackedObject(state.new_id(), "")
        target = state.find(object_id)
        correcting = sum(other.phase is ObjectPhase.CORRECTING for other in state.objects.values())
        is_late = frame.number < state.newest and target.phase is ObjectPhase.SHOWN
        if is_late and correcting >= self._settings.max_corrections:
            raise CapacityError(f"{correcting} corrections of earlier frames are under way: wait until they are done.")
        return target

    def _base(self, state: StreamState, target: TrackedObject, frame: Frame, *, renew: bool) -> _Base:
        bank = self._tracker.bank
        row = state.free_row(bank.rows)
        if not target.versions:
            unseen = Observation(frame.number - 1, predicted_iou=0.0, object_score=0.0, prompted=False)
            return _Base(frame, ObjectVersion(row, bank.empty_index, frame.number, unseen), True, None, {})
        version = replace(target.latest, row=row)
        if version.recalled and not renew and frame.number <= version.first_frame:
            version = version.as_recalled(frame.number)
        first = version.first_frame
        if renew or frame.number <= first:
            earlier = None if renew or frame.number < first else frame.objects.get(target.object_id)
            version = replace(version, index=bank.empty_index, first_frame=frame.number, recalled=False)
            return _Base(frame, version, True, earlier, {})
        bank.copy(target.latest.row, row)
        known: dict[int, ObjectOnFrame] = {}
        while version.frame < frame.number:
            version = self._carried_one_further(version, state, known)
        frames = state.history.with_objects(target.object_id, known).frames
        earlier = known.get(frame.number) or frame.objects.get(target.object_id)
        earlier_frames = [f for f in frames if f.number < frame.number]
        last_seen = replace(version.last_seen, frame=frame.number - 1, policy_state=None)
        if earlier_frames and target.object_id in earlier_frames[-1].objects:
            last_seen = earlier_frames[-1].objects[target.object_id].seen
        version = replace(version, index=version.index.forget_from(frame.number), last_seen=last_seen)
        version = self._tracker.restore(version, target.object_id, earlier_frames)
        return _Base(frame, version, False, earlier, known)

    def _carried_one_further(
        self, version: ObjectVersion, state: StreamState, known: dict[int, ObjectOnFrame]
    ) -> ObjectVersion:
        """Carry a version that is catching up one frame further; `known` takes what is found there."""
        frame = state.history.numbered(version.frame + 1)
        assert frame is not None  # frames that a version still needs stay in the history
        outcome = self._tracker.track([version], frame)
        self._tracker.remember(outcome)
        known[frame.number] = on_frame(outcome)[0]
        return outcome.versions[0]

    def _answer(self, base: _Base, prompt: CheckedPrompt, clicks: Clicks | None) -> SamOutput:
        frame = base.frame
        if clicks is None:
            assert prompt.mask is not None
            return self._decoder.from_mask(frame, prompt.mask)
        previous = None if base.earlier is None else base.earlier.low_res
        embedding = None
        if not base.begins:
            memory = self._tracker.bank.read(self._tracker.bank.indices([base.version.memory], frame.number))
            embedding = self._tracker.network.embed_with_memory(frame.features, memory)
        return self._decoder.from_clicks(frame, clicks, embedding, previous)


def _status_after(target: TrackedObject, result: FrameResult, *, late: bool) -> TrackStatus:
    """Return how a track stands after a prompt; one on an earlier frame says nothing of an object that is shown."""
    (state,) = result.states
    return target.status.prompted(state is not ObjectState.ABSENT and not (late and target.shown), result.stamp)
