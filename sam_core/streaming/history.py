"""The newest frames of a stream: stamps, features, and every object's mask on them.

The one place that decides which frame a stamp means and which object lies under a pixel. A history is an immutable
value: a new frame or a prompt makes a new one, so that any thread may keep the one it has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_core.errors import NoFrameError, StampError
from sam_core.margin import clip_points, is_far
from sam_core.streaming.clicks import Clicks
from sam_core.streaming.cropped_mask import CroppedMask
from sam_core.streaming.global_motion import Movement
from sam_core.streaming.masks import logit_at, masks_at
from sam_core.streaming.memory import Observation
from sam_core.streaming.network import ImageFeatures
from sam_core.streaming.objects import state_of
from sam_core.streaming.result import ObjectState


@dataclass(frozen=True, eq=False)
class ObjectOnFrame:
    """What is known of one object on one frame.

    Attributes:
        low_res: (m, m) float32 mask logits of the network.
        shown: (h, w) float32 logits as results show them, after the postprocessors.
        pointer: (d,) object pointer.
        seen: the frame's scores.
        suppressed: whether a postprocessor gave its mask to another object.
        empty: whether results show it without a mask, though the network sees it.
        clicks: points and box that it was given on this frame; None without any.
        outline: its mask at the image's size where that is known better than by the logits, as from a detector.
    """

    low_res: Tensor
    shown: Tensor
    pointer: Tensor
    seen: Observation
    suppressed: bool = False
    empty: bool = False
    clicks: Clicks | None = None
    outline: CroppedMask | None = None

    @property
    def state(self) -> ObjectState:
        """Whether it is seen on the frame."""
        return state_of(self.seen, self.suppressed, self.empty)


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame that was seen.

    Attributes:
        number: its number in the stream, from 0.
        stamp: the stamp that came with its image.
        size: (H, W) of its image in px.
        features: its encoding.
        image: (3, S, S) levels of RGB as the encoder saw them; None where nothing but the encoder needs them.
        picture: (H, W, 3) uint8 RGB, the camera's image itself; None where it is not kept.
        source: what came with the image and is wanted back with it, for instance a message header.
        objects: what is known of each object, by id.
        run: how often stamps had gone back before this frame, as at the end of a recording that is played in a loop.
        movement: how its image moved since the frame before; None where nothing needs it.
    """

    number: int
    stamp: Any
    size: tuple[int, int]
    features: ImageFeatures
    image: Tensor | None = None
    picture: NDArray[np.uint8] | Tensor | None = None
    source: Any = None
    objects: Mapping[int, ObjectOnFrame] = field(default_factory=dict)
    run: int = 0
    movement: Movement | None = None

    def mask_of(self, object_id: int, threshold: float) -> CroppedMask | None:
        """Return where an object was seen on this frame; None where it was not, or where its mask is empty."""
        known = self.objects.get(object_id)
        if known is None or known.state is ObjectState.ABSENT:
            return None
        if known.outline is not None:
            return known.outline
        mask = CroppedMask.of(masks_at(known.shown[None], self.size, threshold)[0].cpu().numpy())
        return mask if mask.area else None

    def object_at(self, x: float, y: float, threshold: float) -> int | None:
        """Return the object whose mask holds a point, in px of the frame's image.

        Where several do, the one with the highest logit is meant; None where there is none. A point just outside the
        image means its border, as in a prompt.
        """
        given = np.array([[x, y]])
        clipped = clip_points(given, *self.size)
        if not np.isfinite(given).all() or is_far(given, clipped, *self.size)[0]:
            return None
        x, y = clipped[0].tolist()
        hits: dict[int, float] = {}
        for object_id, known in self.objects.items():
            logit = logit_at(known.shown, self.size, math.floor(y), math.floor(x))
            if logit > threshold:
                hits[object_id] = logit
        return max(hits, key=hits.__getitem__, default=None)

    def without_trunk(self) -> Frame:
        """Return the frame without the trunk's map, which only a detection on the newest frame can use."""
        return self if self.features.trunk is None else replace(self, features=replace(self.features, trunk=None))

    @cached_property
    def nbytes(self) -> int:
        """Memory that the frame takes, in bytes."""
        tensors = [self.image] + ([] if self.movement is None else [self.movement.spectrum])
        for known in self.objects.values():
            tensors += [known.low_res, known.pointer, *(() if known.shown is known.low_res else (known.shown,))]
        picture = 0 if self.picture is None else self.picture.nbytes
        return picture + self.features.nbytes + sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))


@dataclass(frozen=True, eq=False)
class FrameHistory:
    """The newest frames, at most `max_frames`, and as many as take at most `max_bytes`, but at least one.

    Attributes:
        max_frames: bound on their number.
        max_bytes: bound on their memory in bytes.
        stamp_tolerance: how far off a stamp may be, in its own unit.
        frames: the frames, oldest first.
    """

    max_frames: int
    max_bytes: int
    stamp_tolerance: float = 0.0
    frames: tuple[Frame, ...] = ()

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frames)

    @property
    def newest(self) -> Frame | None:
        """The newest frame; None before the first."""
        return self.frames[-1] if self.frames else None

    @property
    def oldest(self) -> Frame | None:
        """The oldest frame; None before the first."""
        return self.frames[0] if self.frames else None

    @property
    def nbytes(self) -> int:
        """Memory that the frames take, in bytes."""
        return sum(frame.nbytes for frame in self.frames)

    # --- lookups ---------------------------------------------------------------------------------------------------

    def numbered(self, number: int) -> Frame | None:
        """Return the frame of a number; None if it is gone, or yet to come."""
        if not self.frames or not 0 <= number - self.frames[0].number < len(self.frames):
            return None
        return self.frames[number - self.frames[0].number]

    def frame_at(self, stamp: Any = None, tolerance: float | None = None, *, or_newest: bool = False) -> Frame:
        """Return the frame that a stamp means.

        Args:
            stamp: of the image; None means the newest.
            tolerance: how far off the stamp may be; `stamp_tolerance` where None. An exact match goes before; of
                several frames with the same distance the newest is meant. Viewers and bridges round stamps, and a
                tracker that is slower than its camera does not process every image. After stamps have gone back,
                frames of before are meant only by stamps that have not come again since.
            or_newest: take the newest frame if none matches.

        Raises:
            NoFrameError: there is no frame yet.
            StampError: no frame matches.
        """
        newest, oldest = self.newest, self.oldest
        if newest is None or oldest is None:
            raise NoFrameError("There is no frame yet to apply a prompt to.")
        if stamp is None:
            return newest
        candidates = [(_distance(frame.stamp, stamp), -frame.number, frame) for frame in self._meant_by(stamp)]
        distance, _, nearest = min(candidates, key=lambda candidate: candidate[:2])
        if distance <= (self.stamp_tolerance if tolerance is None else tolerance):
            return nearest
        if or_newest:
            return newest
        raise StampError(
            f"No frame of stamp {stamp} is at hand: the oldest is of {oldest.stamp}, the newest of {newest.stamp}."
        )

    def _meant_by(self, stamp: Any) -> list[Frame]:
        """Return the frames that a stamp can mean: a run of stamps in which it lies hides the runs before."""
        meant: list[Frame] = []
        for _, group in groupby(reversed(self.frames), key=lambda frame: frame.run):
            run = list(group)
            meant += run
            if not _is_before(stamp, run[-1].stamp) and not _is_before(run[0].stamp, stamp):
                break
        return meant

    def run_of(self, stamp: Any) -> int:
        """Return the run that the next frame belongs to, by its stamp."""
        newest = self.newest
        return 0 if newest is None else newest.run + _is_before(stamp, newest.stamp)

    def with_pictures(self) -> FrameHistory:
        """Return a history of the frames alone that have the camera's image."""
        return replace(self, frames=tuple(frame for frame in self.frames if frame.picture is not None))

    def without_pictures(self) -> FrameHistory:
        """Return a history without the camera's images."""
        return replace(self, frames=tuple(replace(frame.without_trunk(), picture=None) for frame in self.frames))

    def first_kept(self) -> int:
        """Return the number of the oldest frame that stays when one like the newest is added."""
        newest = self.newest
        if newest is None:
            return 0
        return self._fitting((*self.frames, newest))[0].number

    # --- changes ---------------------------------------------------------------------------------------------------

    def pushed(self, frame: Frame, needed_from: int | None = None) -> FrameHistory:
        """Return a history with one frame more; frames from number `needed_from` on stay beyond the bounds."""
        frames = (*(earlier.without_trunk() for earlier in self.frames), frame)
        kept = self._fitting(frames)
        if needed_from is not None and needed_from < kept[0].number:
            kept = tuple(frame for frame in frames if frame.number >= needed_from)
        return replace(self, frames=kept)

    def with_objects(self, object_id: int, known: Mapping[int, ObjectOnFrame]) -> FrameHistory:
        """Return a history in which something else is known of an object on some frames, by number."""
        frames = (
            replace(frame, objects={**frame.objects, object_id: known[frame.number]})
            if frame.number in known
            else frame
            for frame in self.frames
        )
        return replace(self, frames=tuple(frames))

    def without(self, object_id: int) -> FrameHistory:
        """Return a history that does not know an object."""
        frames = (
            replace(frame, objects={key: known for key, known in frame.objects.items() if key != object_id})
            if object_id in frame.objects
            else frame
            for frame in self.frames
        )
        return replace(self, frames=tuple(frames))

    def _fitting(self, frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
        """Return the newest of some frames that the bounds allow."""
        kept, size = 0, 0
        for frame in reversed(frames[-self.max_frames :]):
            size += frame.nbytes
            if kept and size > self.max_bytes:
                break
            kept += 1
        return frames[-kept:]


# What comparing things that are no numbers raises: other types, NumPy's arrays, PyTorch's tensors.
_WITHOUT_ORDER = (TypeError, ValueError, RuntimeError)


def _is_before(one: Any, other: Any) -> bool:
    """Tell whether a stamp is older than another; stamps without an order never are."""
    try:
        return bool(one < other)
    except _WITHOUT_ORDER:
        return False


def _distance(one: Any, other: Any) -> float:
    """Return how far apart two stamps are; infinity where they are not equal and cannot be subtracted."""
    try:
        if one == other:
            return 0
        distance = abs(one - other)
        return distance if distance >= 0 else math.inf
    except _WITHOUT_ORDER:
        return math.inf


def frame_bytes(shapes: tuple[tuple[int, int, int], ...], dtype: torch.dtype) -> int:
    """Return the memory in bytes that the features of one frame take."""
    return sum(torch.Size(shape).numel() for shape in shapes) * dtype.itemsize
