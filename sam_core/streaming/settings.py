"""The bounds and choices of one stream."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import torch

from sam_core.streaming.memory.policies import FifoPolicy
from sam_core.streaming.memory.policy import MemoryPolicy
from sam_core.streaming.track_state import TrackRules

NON_OVERLAP = ("none", "highest_score", "color_histogram")
MASK_REFINEMENT = ("none", "guided_filter")
CLICK_AUGMENTATION = ("none", "views")


_LEAST = {  # of settings that are whole numbers
    "max_objects": 1,
    "max_conditioning_frames": 2,  # the first prompt's and the newest correction's
    "max_pointer_distance": 1,
    "fill_hole_area": 0,
    "history_frames": 1,
    "history_bytes": 0,
    "catch_up_frames": 2,
    "max_corrections": 0,
}


@dataclass(frozen=True)
class StreamSettings:
    """Settings of a stream. The memory bank that they imply is allocated when the stream opens.

    Attributes:
        max_objects: capacity; one object more is a `CapacityError`.
        mask_threshold: a pixel belongs to an object where its logit is above this.
        corrections_are_conditioning: whether the frame of a correction becomes a conditioning frame, which is kept
            for good. SAM 2's builder leaves it off: the correction replaces that frame's ordinary memory.
        reconditioning: whether frames that were tracked may become conditioning frames, see `Stream.recondition`; room
            for them is set aside then.
        max_conditioning_frames: conditioning frames kept per object where corrections or tracked frames count as such;
            the first prompt's frame stays, of the others the oldest leaves.
        pin_first_frame: whether the first prompt's frame stays; else the conditioning frames nearest in time do, as in
            SAM 3.
        max_pointer_distance: greatest age, in frames, that the pointer of a conditioning frame is given. SAM 2 has no
            such bound (None), and in an endless stream the age leaves what training has seen.
        memory_dtype: how spatial memories are stored; bfloat16 as the official predictor does on every device.
        policy: which frames enter the memory.
        non_overlap: how overlapping masks are resolved in results: `none` shows them as they are, as SAM 2 does;
            `highest_score` leaves each pixel to the highest logit, as its option `non_overlap_masks`; `color_histogram`
            leaves pixels to the object whose colours they have.
        mask_refinement: how masks at the image's size come from the network's, which have a quarter of its input's
            side: `none` interpolates them, as SAM 2 does; `guided_filter` moves their edges to those of the image.
        click_augmentation: how clicks that begin an object are answered: `none` asks the network once, as SAM 2 does;
            `views` averages over the image, its mirror image and a magnified part.
        fill_hole_area: holes of masks up to this many places of the network's mask are filled, in results and in what
            a prompt leaves in memory. Meta's builder sets 8 for its predictor, which is without effect where its CUDA
            extension is missing; 0 fills none. On a GPU this waits for the masks on every frame.
        stamp_tolerance: how far off the stamp of a prompt may be from that of a frame, in the stamps' own unit.
        history_frames: newest frames that are kept, so that a prompt can be given on the frame that the operator saw;
            1 keeps the newest alone.
        history_bytes: bound on the memory that those frames take; fewer are kept where they don't fit.
        catch_up_frames: how many frames, in one step, objects that were prompted in the past are carried forward; the
            bound on the time that catching up adds to a step. At least 2, or they would never arrive.
        max_corrections: corrections of tracked objects on earlier frames that can be under way at once.
        track_rules: when an object counts as occluded, lost, and found again.
        cuda_graphs: record what a frame launches on a GPU when the stream opens, which takes some seconds then; of no
            effect on a CPU. Off, because it has not been run on a GPU yet.
    """

    max_objects: int = 16
    mask_threshold: float = 0.0
    corrections_are_conditioning: bool = False
    reconditioning: bool = False
    max_conditioning_frames: int = 4
    pin_first_frame: bool = True
    max_pointer_distance: int | None = None
    memory_dtype: torch.dtype = torch.bfloat16
    policy: MemoryPolicy = field(default_factory=FifoPolicy)
    non_overlap: str = "none"
    mask_refinement: str = "none"
    click_augmentation: str = "none"
    fill_hole_area: int = 0
    stamp_tolerance: float = 0.0
    history_frames: int = 36
    history_bytes: int = 256 * 2**20
    catch_up_frames: int = 2
    max_corrections: int = 2
    track_rules: TrackRules = field(default_factory=TrackRules)
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        _check_number("mask_threshold", self.mask_threshold, Real, -math.inf)
        _check_number("stamp_tolerance", self.stamp_tolerance, Real, 0)
        for name, bound in _LEAST.items():
            value = getattr(self, name)
            if value is not None or name != "max_pointer_distance":
                _check_number(name, value, Integral, bound)
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}.")

    @property
    def needs_images(self) -> bool:
        """Whether anything but the encoder looks at a frame's resized image."""
        after = self.non_overlap == "color_histogram" or self.mask_refinement != "none"
        return after or self.click_augmentation != "none"

    @property
    def conditioning_slots(self) -> int:
        """Conditioning memories to keep room for, per object."""
        several = self.corrections_are_conditioning or self.reconditioning
        return max(self.max_conditioning_frames if several else 1, self.policy.conditioning_frames)


def _check_number(name: str, value: Any, kind: type, least: float) -> None:
    """Refuse what is no number of its kind, or below the least that makes sense.

    Raises:
        ValueError: a sentence with the setting's name.
    """
    fits = isinstance(value, kind) and not isinstance(value, bool)
    if not fits:
        raise ValueError(f"{name} must be a {'whole number' if kind is Integral else 'number'}, not {value!r}.")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least:g}, not {value}.")


# What a model's configuration and a parameter file may choose by name.
CHOICES: dict[str, tuple[str, ...]] = {
    "non_overlap": NON_OVERLAP,
    "mask_refinement": MASK_REFINEMENT,
    "click_augmentation": CLICK_AUGMENTATION,
}
