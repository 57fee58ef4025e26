"""EdgeTAM: SAM 2 whose memories are latent tokens rather than maps.

Source: "EdgeTAM: On-Device Track Anything Model" (Zhou et al., CVPR 2025), section 3. Parameter names are those of
Meta's checkpoint.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sam_core.edgetam.perceiver import SpatialPerceiver
from sam_core.sam2 import ImageFeatures, MemoryTokens, Sam2

__all__ = ["EdgeTam"]


class EdgeTam(Sam2):
    """SAM 2 with a perceiver behind its memory encoder.

    Args:
        spatial_perceiver: makes the tokens of a memory.
        **sam2: those of `Sam2`. Its memory attention has the perceiver's grid as `memory_grid`.

    Raises:
        ValueError: the windows of the perceiver do not tile the feature grid, or memory attention has another grid.
    """

    def __init__(self, spatial_perceiver: SpatialPerceiver, **sam2: Any) -> None:
        super().__init__(**sam2)
        side = spatial_perceiver.grid_size
        if self.feature_size % side:
            raise ValueError(f"{side} windows do not tile a feature grid of {self.feature_size}: choose another size.")
        if self.memory_attention.memory_grid != side:
            raise ValueError(f"memory attention needs memory_grid={side}, the perceiver's.")
        self.spatial_perceiver = spatial_perceiver

    @property
    def memory_shape(self) -> tuple[int, ...]:
        """Shape (c, L) of one frame's spatial memory."""
        return self.memory_dim, self.spatial_perceiver.num_tokens

    def encode_memory(
        self, features: ImageFeatures, low_res: Tensor, object_score: Tensor, from_prompt: bool
    ) -> Tensor:
        """Make memories of a frame, as `Sam2.encode_memory` does; returns (B, c, L)."""
        return self.spatial_perceiver(super().encode_memory(features, low_res, object_score, from_prompt))

    def assemble_memory(self, spatial: Tensor, t_pos: Tensor, pointers: Tensor, distances: Tensor) -> MemoryTokens:
        """Line up what is remembered of B objects, with its place and time.

        Args:
            spatial: (B, S, c, L) spatial memories, any float dtype.
            t_pos: as in `Sam2.assemble_memory`.
            pointers: (B, P, d) object pointers.
            distances: (B or 1, P) how many frames ago each pointer was made.

        Returns:
            The tokens: S grids of latents, then those that have no place: the global latents of the S memories, and
            P pointers of d / c tokens each. Attention does not depend on the order of keys.
        """
        perceiver, side = self.spatial_perceiver, self.spatial_perceiver.grid_size
        latents, gridded = spatial.to(self.dtype).transpose(2, 3).tensor_split((perceiver.num_global,), dim=2)
        pointer_tokens, pointer_position = self._pointer_tokens(pointers, distances)
        tokens = torch.cat((gridded.flatten(1, 2), latents.flatten(1, 2), pointer_tokens), dim=1)
        grid = self.memory_position(tokens.new_empty(1, 1, side, side)).flatten(2).transpose(1, 2)  # (1, side², c)
        time = self.memory_time(t_pos)  # (B or 1, S, 1, c)
        placed = (grid[:, None] + time).flatten(1, 2)
        without_place = time.expand(-1, -1, perceiver.num_global, -1).flatten(1, 2)
        parts = (placed, without_place, pointer_position)
        rows = max(part.shape[0] for part in parts)
        position = torch.cat([part.expand(rows, -1, -1) for part in parts], dim=1)
        return MemoryTokens(tokens, position, tokens.shape[1] - placed.shape[1])
