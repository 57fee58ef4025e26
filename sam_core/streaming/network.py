"""What a stream asks of a network; SAM 2, SAM 2.1, SAM 3's tracker and EdgeTAM answer it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from sam_core.sam2 import ImageFeatures, MemoryTokens, SamOutput

__all__ = ["ImageFeatures", "MemoryTokens", "SamOutput", "TrackingNetwork"]


class TrackingNetwork(Protocol):
    """A promptable segmentation network with a memory: weights and pure functions, no state of a stream.

    `sam_core.sam2.Sam2` documents shapes, units and sources of each member.
    """

    image_size: int
    d_model: int
    memory_dim: int
    num_memories: int
    max_object_pointers: int

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""

    @property
    def feature_size(self) -> int:
        """Side of the feature grid."""

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution masks."""

    @property
    def memory_mask_size(self) -> int:
        """Side of the masks that the memory encoder takes."""

    @property
    def memory_shape(self) -> tuple[int, ...]:
        """Shape of one frame's spatial memory: channels first, then places."""

    def feature_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Return the (C, H, W) of one image's features."""

    def resize(self, images: Tensor) -> Tensor:
        """Resize camera images to the network's input size."""

    def normalise_picture(self, pictures: Tensor) -> Tensor:
        """Normalise resized images."""

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Encode normalised images."""

    def image_position(self, embedding: Tensor) -> Tensor:
        """Return the position encoding of an embedding's grid."""

    def embed_without_memory(self, features: ImageFeatures) -> Tensor:
        """Return the embedding of a frame on which an object begins."""

    def assemble_memory(self, spatial: Tensor, t_pos: Tensor, pointers: Tensor, distances: Tensor) -> MemoryTokens:
        """Line up the memories of B objects."""

    def embed_with_memory(self, features: ImageFeatures, memory: MemoryTokens) -> Tensor:
        """Condition a frame on the memories of B objects."""

    def encode_memory(
        self, features: ImageFeatures, low_res: Tensor, object_score: Tensor, from_prompt: bool
    ) -> Tensor:
        """Make the memories of a frame."""

    def uses_multimask(self, num_points: int, *, begins: bool) -> bool:
        """Return whether several candidate masks are predicted."""

    def decode(
        self,
        embedding: Tensor,
        features: ImageFeatures,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        multimask: bool,
        alternatives: bool = False,
    ) -> SamOutput:
        """Predict the masks of B objects."""

    def take(self, output: SamOutput, best: Tensor) -> SamOutput:
        """Take other candidates of an output."""

    def adopt_mask(self, features: ImageFeatures, mask: Tensor) -> SamOutput:
        """Take a mask prompt as the output."""
