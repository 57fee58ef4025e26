"""Track versions of objects: the network, the memory bank and the postprocessors on one frame.

Nothing here knows what a stream shows or which objects it has. Bank writes go to slots that no index in use names, so
an exception at any point leaves all that callers hold as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sam_core.streaming.arbiter import Rule, Ruling
from sam_core.streaming.cuda_graphs import FrameGraphs
from sam_core.streaming.history import Frame, ObjectOnFrame
from sam_core.streaming.masks import logits_at, mask_at
from sam_core.streaming.memory import MemoryBank, MemoryIndex, Observation, Slots
from sam_core.streaming.network import ImageFeatures, TrackingNetwork
from sam_core.streaming.objects import ObjectVersion
from sam_core.streaming.postprocessing import (
    ColorHistogramOverlap,
    FillHoles,
    GuidedFilterRefinement,
    HighestScoreOverlap,
    MaskPostprocessor,
    ObjectMasks,
)
from sam_core.streaming.result import ObjectState
from sam_core.streaming.settings import StreamSettings
from sam_core.streaming.tracking import Tracked


def postprocessors_of(settings: StreamSettings) -> list[MaskPostprocessor]:
    """Return the postprocessors that settings ask for, in the order in which they are applied."""
    chain: list[MaskPostprocessor] = []
    if settings.fill_hole_area:
        chain.append(FillHoles(settings.fill_hole_area))
    if settings.non_overlap == "color_histogram":
        chain.append(ColorHistogramOverlap())
    if settings.mask_refinement == "guided_filter":
        chain.append(GuidedFilterRefinement())
    if settings.non_overlap == "highest_score":
        chain.append(HighestScoreOverlap())  # last: it decides on the pixels of the image
    return chain


@dataclass(frozen=True)
class Outcome:
    """What became of B versions on a frame; nothing of it is remembered yet.

    Attributes:
        tracked: what the network says.
        seen: the scores.
        slots: where each version's memory goes in its row.
        versions: the versions as they are once that is written.
        ruling: what an arbiter decided; None without one.
    """

    tracked: Tracked
    seen: list[Observation]
    slots: list[Slots]
    versions: list[ObjectVersion]
    ruling: Ruling | None = None


class FrameTracker:
    """The network and its memories.

    Args:
        network: in evaluation mode.
        settings: of the stream.
    """

    def __init__(self, network: TrackingNetwork, settings: StreamSettings) -> None:
        self.network = network
        self._policy = settings.policy
        self._postprocessors = postprocessors_of(settings)
        self.bank = MemoryBank(
            network,
            rows=settings.max_objects + settings.max_corrections + 1,
            conditioning_slots=settings.conditioning_slots,
            dtype=settings.memory_dtype,
            policy=settings.policy,
            max_pointer_distance=settings.max_pointer_distance,
            pin_first=settings.pin_first_frame or settings.policy.conditioning_frames > 1,
            spare_conditioning=int(settings.reconditioning or settings.policy.conditioning_frames > 1),
        )
        on_gpu = settings.cuda_graphs and network.device.type == "cuda" and not settings.policy.examines
        self._graphs = FrameGraphs(network, self.bank, settings.max_objects, enabled=on_gpu)

    def encode(self, image: Tensor) -> ImageFeatures:
        """Encode a resized image (3, S, S)."""
        return self._graphs.encode(image)

    def track(self, versions: Sequence[ObjectVersion], frame: Frame, rule: Rule | None = None) -> Outcome:
        """Track versions on a frame without a prompt.

        Args:
            versions: the versions.
            frame: the frame.
            rule: decides on the masks before they are remembered; None remembers what the network says.
        """
        batches = self.bank.batches([version.memory for version in versions], frame.number)
        remember, last = self._policy.considers(frame.number), [version.last_seen for version in versions]
        shift = None if frame.movement is None else frame.movement.shift
        examiner = partial(self._policy.examine, last=last, shift=shift) if self._policy.examines else None
        tracked = self._graphs.track(frame.features, batches, remember=remember and rule is None, examiner=examiner)
        seen = tracked.observe(frame.number, last, self._policy, prompted=False)
        if rule is None:
            return self._outcome(versions, tracked, seen, conditioning=False)
        ruling = rule(tracked)
        memory = self._memory_of(frame, ruling) if remember else None
        tracked = replace(tracked, low_res=ruling.remembered[:, None], memory=memory)
        seen = [replace(one, remembered_as=score) for one, score in zip(seen, ruling.scores, strict=True)]
        return replace(self._outcome(versions, tracked, seen, conditioning=False), ruling=ruling)

    def _memory_of(self, frame: Frame, ruling: Ruling) -> Tensor:
        scores = torch.tensor(ruling.scores, dtype=torch.float32, device=self.network.device)[:, None]
        return self.network.encode_memory(frame.features, self._upsampled(ruling.remembered), scores, from_prompt=False)

    def _upsampled(self, logits: Tensor) -> Tensor:
        """Bring the masks (B, m, m) of a ruling to the memory encoder in one step, as SAM 3 does: (B, 1, M, M)."""
        side = self.network.memory_mask_size
        return logits_at(logits, (side, side))[:, None]

    def recondition(self, version: ObjectVersion, object_id: int, frame: Frame) -> ObjectVersion:
        """Make a conditioning frame of a frame that a version was tracked on; it is written to a slot not in use.

        Args:
            version: the version, whose row has room for several conditioning frames.
            object_id: its object.
            frame: a frame of the history with the object.
        """
        known = frame.objects[object_id]
        index, slots = version.index.remember(frame.number, conditioning=True, spatial=True)
        self.bank.write([version.row], [slots], self._encoded_again(frame, known), known.pointer[None])
        return replace(version, index=index)

    def answered(self, version: ObjectVersion, tracked: Tracked, frame: int, *, conditioning: bool) -> Outcome:
        """Return what becomes of a version that was prompted on a frame, given its number."""
        seen = tracked.observe(frame, [version.last_seen], self._policy, prompted=True)
        return self._outcome([version], tracked, seen, conditioning=conditioning)

    def _outcome(
        self, versions: Sequence[ObjectVersion], tracked: Tracked, seen: list[Observation], *, conditioning: bool
    ) -> Outcome:
        slots, updated = [], []
        for version, observation in zip(versions, seen, strict=True):
            spatial, for_long = self._policy.admits(observation), self._policy.makes_conditioning(observation)
            index, at = version.index.remember(
                observation.frame,
                conditioning=conditioning or for_long,
                spatial=spatial,
                pointer=self._policy.keeps_pointer(observation),
                dropped=self._policy.passing(version.last_seen) if spatial and not for_long else None,
            )
            slots.append(at)
            updated.append(replace(version, index=index, last_seen=observation, suppressed=False, empty=False))
        return Outcome(tracked, seen, slots, updated)

    def remember(self, outcome: Outcome) -> None:
        """Write the memories of a frame to the bank."""
        rows = [version.row for version in outcome.versions]
        self.bank.write(rows, outcome.slots, outcome.tracked.memory, outcome.tracked.pointer)

    def restore(self, version: ObjectVersion, object_id: int, frames: Sequence[Frame]) -> ObjectVersion:
        """Bring memories back that have left the bank, from frames of the history.

        Spatial memories are encoded again from a frame's features and the object's mask there, which gives the same
        numbers. The version's row is written, so nobody else may read it.

        Args:
            version: the version, of which the index is cut off before some frame.
            object_id: its object.
            frames: frames of the history before that one, oldest first.
        """
        known = {
            frame.number: frame
            for frame in frames
            if object_id in frame.objects
            and frame.number > version.first_frame
            and frame.number not in version.index.conditioning.frames
        }
        recent, pointers = version.index.recent, version.index.pointers
        passing = self._policy.passing(version.last_seen)
        admitted = [n for n, frame in known.items() if self._holds(frame.objects[object_id].seen, passing)]
        wanted = sorted({*recent.before(version.frame + 1), *admitted})[-recent.capacity :]
        missing = [n for n in wanted if n not in recent.frames]
        pointed = [n for n, frame in known.items() if self._policy.keeps_pointer(frame.objects[object_id].seen)]
        wanted = sorted({*pointers.before(version.frame + 1), *pointed})[-pointers.capacity :]
        index = version.index
        for number in sorted({*missing, *(n for n in wanted if n not in pointers.frames)}):
            index = self._restore_frame(version.row, index, known[number], object_id, spatial=number in missing)
        return replace(version, index=index)

    def _holds(self, seen: Observation, passing: int | None) -> bool:
        """Tell whether the memory of a frame is in the bank, if `passing` is the one that gives way next."""
        return self._policy.admits(seen) and (seen.frame == passing or self._policy.retains(seen))

    def _restore_frame(
        self, row: int, index: MemoryIndex, frame: Frame, object_id: int, *, spatial: bool
    ) -> MemoryIndex:
        on_frame = frame.objects[object_id]
        memory = self._encoded_again(frame, on_frame) if spatial else None
        held = index.recent
        index, slots = index.remember(frame.number, conditioning=False, spatial=spatial)
        if not spatial:
            index = replace(index, recent=held)  # only the pointer was missing
        self.bank.write([row], [slots], memory, on_frame.pointer[None])
        return index

    def _encoded_again(self, frame: Frame, known: ObjectOnFrame) -> Tensor:
        """Return the spatial memory (1, c, h, w) that an object had of a frame."""
        seen = known.seen
        visible = seen.object_score if seen.remembered_as is None else seen.remembered_as
        score = torch.full((1, 1), visible, dtype=torch.float32, device=self.network.device)
        return self.network.encode_memory(
            frame.features, self._remembered(frame, known), score, from_prompt=seen.prompted
        )

    def _remembered(self, frame: Frame, on_frame: ObjectOnFrame) -> Tensor:
        """Return the mask logits (1, 1, m, m) that the memory of an object on a frame was made of."""
        if on_frame.outline is not None:
            mask = mask_at(on_frame.outline.full(), self.network.image_size, self.network.device)
            answer = self.network.adopt_mask(frame.features, mask)
            if answer.full_size is not None:
                return answer.full_size
        if on_frame.seen.remembered_as is not None:
            return self._upsampled(on_frame.low_res[None])
        return on_frame.low_res[None, None]

    # --- what results show -----------------------------------------------------------------------------------------

    def show(self, versions: Sequence[ObjectVersion], outcome: Outcome, frame: Frame, threshold: float) -> ObjectMasks:
        """Return the masks of versions as results show them."""
        masks = self._masks(outcome.tracked, frame, threshold)
        if outcome.ruling is not None:
            masks = replace(masks, logits=outcome.ruling.shown, suppressed=outcome.ruling.suppressed)
        for k, postprocess in enumerate(self._postprocessors):
            masks = postprocess(masks, frame.image, [version.references[k] for version in versions])
        return masks

    def show_prompted(self, tracked: Tracked, frame: Frame, threshold: float) -> tuple[ObjectMasks, tuple[object, ...]]:
        """Return the mask of one prompted object as results show it, and its references for the postprocessors."""
        masks = self._masks(tracked, frame, threshold)
        references = []
        for postprocess in self._postprocessors:
            references.append(postprocess.reference(masks, frame.image))
            masks = postprocess(masks, frame.image, references[-1:])
        return masks, tuple(references)

    def named_references(self, version: ObjectVersion) -> dict[str, Tensor]:
        """Return a version's references for the postprocessors on the CPU, by their names in files."""
        pairs = zip(self._postprocessors, version.references, strict=False)
        return {
            postprocess.saved_reference[0]: reference.cpu()
            for postprocess, reference in pairs
            if postprocess.saved_reference is not None and reference is not None
        }

    def references_from(self, named: Mapping[str, Tensor]) -> tuple[Any, ...]:
        """Return a version's references for the postprocessors; None where a file has none.

        Raises:
            ValueError: one has another shape than its postprocessor's.
        """
        references: list[Tensor | None] = []
        for postprocess in self._postprocessors:
            name, shape = postprocess.saved_reference or ("", ())
            found = named.get(name)
            if found is not None and tuple(found.shape) != shape:
                raise ValueError(f"The reference {name} has the shape {tuple(found.shape)}, not {shape}.")
            references.append(None if found is None else found.to(self.network.device, torch.float32))
        return tuple(references)

    def _masks(self, tracked: Tracked, frame: Frame, threshold: float) -> ObjectMasks:
        suppressed = (False,) * tracked.iou.shape[0]
        return ObjectMasks(tracked.low_res[:, 0], tracked.score[:, 0], suppressed, frame.size, threshold)


def on_frame(
    outcome: Outcome, shown: ObjectMasks | None = None, states: Sequence[ObjectState] = ()
) -> list[ObjectOnFrame]:
    """Return what is known of B versions on a frame.

    Args:
        outcome: what became of them.
        shown: the masks that results show; where None, those of the network.
        states: how results show them; where they are not shown, they count as having a mask.
    """
    low_res = outcome.tracked.low_res[:, 0].unbind()
    logits = outcome.tracked.low_res[:, 0] if shown is None else shown.logits
    visible = low_res if logits.is_set_to(outcome.tracked.low_res[:, 0]) else logits.unbind()
    pointers = outcome.tracked.pointer.unbind()
    suppressed = (False,) * len(low_res) if shown is None else shown.suppressed
    empty = [state is ObjectState.NO_MASK for state in states] or (False,) * len(low_res)
    parts = zip(low_res, visible, pointers, outcome.seen, suppressed, empty, strict=True)
    return [ObjectOnFrame(*one) for one in parts]
