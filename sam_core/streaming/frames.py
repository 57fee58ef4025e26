"""The frames that are still at hand: features, stamps and pictures of the last few, in preallocated tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sam_core.sam2 import ImageFeatures, Sam2


@dataclass(frozen=True)
class Frame:
    """A frame that was seen.

    Attributes:
        number: its number in the stream, from 0.
        stamp: the stamp that came with its image.
        size: (H, W) of its image in px.
        features: its encoding; a frame of the ring loses them when its slot is taken.
        picture: its image as the encoder saw it, (3, S, S) levels of RGB. A frame of the ring has it only where the
            ring keeps pictures, and loses it with the features.
    """

    number: int
    stamp: Any
    size: tuple[int, int]
    features: ImageFeatures
    picture: Tensor


class FrameRing:
    """The newest frames, as many as `max_frames` and `max_bytes` allow, at least one.

    Args:
        model: tells the features' sizes, dtype and device.
        max_frames: frames to keep.
        max_bytes: bound on the memory they take, in bytes.
        keep_pictures: whether frames have pictures.
    """

    def __init__(self, model: Sam2, max_frames: int, max_bytes: int, *, keep_pictures: bool = False) -> None:
        shapes = model.feature_shapes()
        element = torch.empty((), dtype=model.dtype).element_size()
        side = model.image_size if keep_pictures else 0
        per_frame = sum(torch.Size(shape).numel() for shape in shapes) * element + 3 * side**2
        self.capacity = max(1, min(max_frames, max_bytes // per_frame))
        self.nbytes = self.capacity * per_frame
        self._embedding, self._fine, self._middle = (
            # Channels last, as `encode_image` lays them: the same kernels, and so the same bits, on a kept frame.
            torch.zeros(self.capacity, *shape, dtype=model.dtype, device=model.device).to(
                memory_format=torch.channels_last
            )
            for shape in shapes
        )
        # These, too, as `Sam2.resize` lays them.
        self._pictures = torch.zeros(self.capacity, side, side, 3, dtype=torch.uint8, device=model.device).permute(
            0, 3, 1, 2
        )
        self._position = model.image_position(self._embedding)
        self._frames: list[Frame] = []  # oldest first

    def push(self, frame: Frame) -> Frame:
        """Keep a frame in place of the oldest; returns it with features that live in the ring."""
        slot = frame.number % self.capacity
        self._embedding[slot].copy_(frame.features.embedding[0])
        self._fine[slot].copy_(frame.features.high_res[0][0])
        self._middle[slot].copy_(frame.features.high_res[1][0])
        at = slice(slot, slot + 1)
        features = ImageFeatures(self._embedding[at], (self._fine[at], self._middle[at]), self._position)
        if self._pictures.numel():
            self._pictures[slot].copy_(frame.picture)
        kept = Frame(frame.number, frame.stamp, frame.size, features, self._pictures[slot])
        self._frames = [*self._frames[-(self.capacity - 1) :], kept] if self.capacity > 1 else [kept]
        return kept

    def __len__(self) -> int:
        """Return how many frames are at hand."""
        return len(self._frames)

    @property
    def newest(self) -> Frame | None:
        """The newest frame; None before the first."""
        return self._frames[-1] if self._frames else None

    @property
    def oldest(self) -> Frame | None:
        """The oldest frame at hand; None before the first."""
        return self._frames[0] if self._frames else None

    def with_stamp(self, stamp: Any) -> Frame | None:
        """Find the newest frame of a stamp."""
        return next((frame for frame in reversed(self._frames) if frame.stamp == stamp), None)

    def numbered(self, number: int) -> Frame:
        """Return the frame of a number.

        Raises:
            KeyError: it has left the ring, or is yet to come.
        """
        if not self._frames or not 0 <= number - self._frames[0].number < len(self._frames):
            raise KeyError(f"frame {number} is not at hand")
        return self._frames[number - self._frames[0].number]
