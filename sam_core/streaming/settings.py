"""The bounds and choices of one stream."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from sam_core.streaming.policy import FifoPolicy, MemoryPolicy

OVERLAPS = ("keep", "look")
EDGES = ("keep", "guided")
CLICKS = ("keep", "views")


@dataclass(frozen=True)
class StreamSettings:
    """Settings of a stream; all memory that they imply is taken when the stream opens.

    Attributes:
        max_objects: capacity; one object more is a `CapacityError`.
        mask_threshold: a pixel belongs to an object where its logit is above this.
        corrections_are_conditioning: whether the frame of a correction becomes a conditioning frame, which is kept
            for good. SAM 2's builder leaves it off: the correction replaces that frame's ordinary memory.
        max_conditioning_frames: conditioning frames kept per object where corrections count as such; the first
            prompt's frame stays, of the others the oldest leaves.
        max_pointer_distance: greatest age, in frames, that the pointer of a conditioning frame is given. SAM 2 has no
            such bound (None), and in an endless stream the age leaves what training has seen.
        memory_dtype: how spatial memories are stored; bfloat16 as the official predictor does on every device.
        policy: which frames enter the memory.
        overlaps: what becomes of pixels that masks have in common: `keep` leaves them to all, as SAM 2 does; `look`
            gives them to the object that they look like (`sam_core.streaming.overlaps`), and clicks tell the objects of
            a frame apart (`sam_core.streaming.answers`).
        edges: how masks at the image's size come from the network's, which are a quarter of its picture's side: `keep`
            stretches them, as SAM 2 does; `guided` lets them end at the picture's edges (`sam_core.streaming.edges`).
        clicks: how clicks that begin an object are answered: `keep` from the picture as it is, as in SAM 2; `views`
            mirrored and from closer up as well (`sam_core.streaming.views`).
        history_frames: newest frames whose features are kept, so that a prompt can be given on the frame that the
            operator saw; 1 allows the newest alone.
        history_bytes: bound on the memory those features take, and pictures where they are kept; fewer frames are kept
            where they don't fit.
        catch_up_frames: how many frames, in one step, objects that were prompted in the past are carried forward, in
            a second thread where a core is free; the bound on the time that catching up adds to a step. At least 2, or
            they would never arrive.
        max_corrections: corrections of tracked objects on earlier frames that can be under way at once.
        cuda_graphs: on a GPU, record what a frame launches when the stream opens (`sam_core.backends.cuda_graphs`),
            which takes some seconds then. Off until this has run on a GPU.
    """

    max_objects: int = 16
    mask_threshold: float = 0.0
    corrections_are_conditioning: bool = False
    max_conditioning_frames: int = 4
    max_pointer_distance: int | None = None
    memory_dtype: torch.dtype = torch.bfloat16
    policy: MemoryPolicy = field(default_factory=FifoPolicy)
    overlaps: str = "keep"
    edges: str = "keep"
    clicks: str = "keep"
    history_frames: int = 30
    history_bytes: int = 256 * 2**20
    catch_up_frames: int = 2
    max_corrections: int = 2
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        least = {
            "max_objects": 1,
            "max_conditioning_frames": 2,  # the first prompt's and the newest correction's
            "max_pointer_distance": 1,
            "history_frames": 1,
            "catch_up_frames": 2,
            "max_corrections": 0,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(f"{name} must be at least {bound}, not {value}.")
        for name, choices in (("overlaps", OVERLAPS), ("edges", EDGES), ("clicks", CLICKS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}.")

    @property
    def keeps_pictures(self) -> bool:
        """Whether anything but the encoder looks at a frame's picture."""
        return (self.overlaps, self.edges, self.clicks) != ("keep", "keep", "keep")

    @property
    def conditioning_slots(self) -> int:
        """Conditioning memories to keep room for, per object."""
        return self.max_conditioning_frames if self.corrections_are_conditioning else 1
