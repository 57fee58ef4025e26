"""What a stream answers: results of a frame, facts about objects, facts about memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from torch import Tensor

from sam_core.streaming.masks import logits_at
from sam_core.streaming.track_state import TrackStatus


class ObjectState(str, Enum):
    """Whether an object is seen on a frame; it has a mask exactly where it is `TRACKED`."""

    TRACKED = "tracked"
    ABSENT = "absent"
    NO_MASK = "no mask"  # the network sees it, but no pixel is above the threshold: too small, or too high a threshold


class ObjectPhase(str, Enum):
    """Where an object is in its life; it ends when it is removed."""

    CATCHING_UP = "catching up"  # prompted on an earlier frame, and not in results yet
    SHOWN = "shown"
    CORRECTING = "correcting"  # shown as it was, until a correction of an earlier frame has caught up


@dataclass(frozen=True)
class Origin:
    """By what an object was found.

    Attributes:
        concept: key of the concept.
        confirmed: whether the object stays; one that does not yet may be withdrawn.
        score: of the newest detection that matched it, 0 … 1.
    """

    concept: str
    confirmed: bool
    score: float


@dataclass(frozen=True)
class FrameResult:
    """Objects on one frame; row i of every tensor is the object `object_ids[i]`.

    The tensors are on the stream's device.

    Attributes:
        frame: number of the frame in the stream, from 0.
        stamp: the stamp that came with the image, unchanged.
        image_size: (H, W) of the image in px.
        object_ids: ids, ascending.
        labels: what each object was called.
        states: whether each object is seen.
        low_res: (N, h, w) float32 mask logits after the postprocessors, at the resolution of the network's masks unless
            a postprocessor makes finer ones.
        masks: (N, H, W) bool, logits above the stream's threshold.
        boxes: (N, 4) int64 x_min, y_min, x_max, y_max of the masks in px, maxima exclusive; zeros for an empty mask.
        areas: (N,) int64 px.
        centroids: (N, 2) float32 xy in px, the origin as for boxes: the centre of the top-left pixel is (0.5, 0.5); NaN
            for an empty mask.
        predicted_iou: (N,) float32, the decoder's estimate of its mask's IoU, 0 … 1.
        presence: (N,) float32, probability that the object is visible, 0 … 1.
        origins: of objects that were found by a concept, by id.
        statuses: how the track of each object stands over time, by id.
        remarks: after a prompt, what was changed to make it fit the image, in full sentences; empty otherwise.
    """

    frame: int
    stamp: Any
    image_size: tuple[int, int]
    object_ids: tuple[int, ...]
    labels: tuple[str, ...]
    states: tuple[ObjectState, ...]
    low_res: Tensor
    masks: Tensor
    boxes: Tensor
    areas: Tensor
    centroids: Tensor
    predicted_iou: Tensor
    presence: Tensor
    remarks: tuple[str, ...] = ()
    origins: Mapping[int, Origin] = field(default_factory=dict)
    statuses: Mapping[int, TrackStatus] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.object_ids)

    @cached_property
    def mask_logits(self) -> Tensor:
        """(N, H, W) float32 logits at the image's size; made when first asked for."""
        return logits_at(self.low_res, self.image_size)


@dataclass(frozen=True)
class ObjectInfo:
    """What a stream knows of an object.

    Attributes:
        object_id: its id, unique in the stream for ever.
        label: what it was called.
        first_frame: number of the frame on which it was prompted first, or renewed.
        frames_behind: frames that it is still to be carried through before it appears in results; 0 for most.
        state: whether it was seen on its newest frame.
        predicted_iou: of its newest mask, 0 … 1.
        presence: on its newest frame, 0 … 1.
        phase: where it is in its life.
        status: how its track stands over time.
    """

    object_id: int
    label: str
    first_frame: int
    frames_behind: int
    state: ObjectState
    predicted_iou: float
    presence: float
    phase: ObjectPhase = ObjectPhase.SHOWN
    status: TrackStatus = field(default_factory=TrackStatus)


@dataclass(frozen=True)
class StreamReport:
    """How full a stream is.

    Attributes:
        frames: frames seen since the stream was opened.
        objects: objects tracked now.
        max_objects: capacity.
        spatial_slots_used: spatial memories that hold something.
        spatial_slots: spatial memories that there is room for.
        history_frames: frames that a prompt can still be given on.
        max_history_frames: how many there can be.
        bytes_allocated: size of the memory bank in bytes; it is allocated when the stream opens and never changes.
        history_bytes: memory that the newest frames take, in bytes.
    """

    frames: int
    objects: int
    max_objects: int
    spatial_slots_used: int
    spatial_slots: int
    history_frames: int
    max_history_frames: int
    bytes_allocated: int
    history_bytes: int
