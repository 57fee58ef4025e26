"""One side of a comparison: ours or a reference, which take a camera's frames one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Answer", "Reference", "Side"]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a side says of the object in a frame.

    Attributes:
        logits: Mask logits, float32, 2-D; of the same size on both sides.
        mask: (H, W) bool at the frame's size.
    """

    logits: Tensor
    mask: Tensor


class Side(Protocol):
    """An implementation with weights, on its device.

    Attributes:
        name: What the report calls it.
    """

    name: str

    def begin(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> Answer:
        """Open a clip with its first frame (H, W, 3) RGB and the object's box there (xyxy px)."""

    def step(self, frame: NDArray[np.uint8]) -> Answer:
        """Go on to the next frame."""


class Reference(Side, Protocol):
    """Someone else's implementation.

    Attributes:
        memory_dtype: How it stores spatial memories.
        own_names: Whether it took the file's tensors under the file's own names; if not, it was given ours.
    """

    memory_dtype: torch.dtype
    own_names: bool
