"""Memory attention: self-attention of the current frame's features and cross-attention to the object's memory.

Source: SAM 2 (Ravi et al., 2024), section 4 "Memory attention" and appendix D.1.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers import RotaryAttention, axial_rotations
from sam_core.sam2.features import MemoryTokens

# Share of the sine position encoding that is added to the features before the first layer.
_INPUT_POSITION_WEIGHT = 0.1


class MemoryAttentionLayer(nn.Module):
    """Pre-norm self-attention, cross-attention to the memory, and feed-forward network.

    Args:
        d_model: channels of the image features.
        memory_dim: channels of a memory token.
        num_heads: heads of both attentions.
        feedforward_dim: hidden width of the feed-forward network.
    """

    def __init__(self, d_model: int, memory_dim: int, num_heads: int, feedforward_dim: int) -> None:
        super().__init__()
        self.self_attn = RotaryAttention(d_model, num_heads)
        self.cross_attn_image = RotaryAttention(d_model, num_heads, kv_in_dim=memory_dim)
        self.linear1 = nn.Linear(d_model, feedforward_dim)
        self.linear2 = nn.Linear(feedforward_dim, d_model)
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.norm3 = nn.LayerNorm(d_model)

    def forward(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        rotations: Tensor,
        num_unrotated_keys: int,
        key_rotations: Tensor | None,
    ) -> Tensor:
        """Update the tokens of a feature map.

        Args:
            x: (1 or B, H * W, C); one map serves B objects.
            keys: (B, L, C_mem) memory tokens with their position.
            values: (B, L, C_mem) memory tokens.
            rotations: (H * W, head_dim / 2, 2) of `axial_rotations`.
            num_unrotated_keys: tokens at the end of the memory that have no place.
            key_rotations: the same for the memory's grid, where it is another; else None.

        Returns:
            (B, H * W, C).
        """
        y = self.norm1(x)
        x = x + self.self_attn(y, y, y, rotations)
        x = x + self.cross_attn_image(self.norm2(x), keys, values, rotations, num_unrotated_keys, key_rotations)
        return x + self.linear2(F.relu(self.linear1(self.norm3(x)), inplace=True))


class MemoryAttention(nn.Module):
    """Stack of memory attention layers.

    Args:
        d_model: channels of the image features.
        memory_dim: channels of a memory token.
        num_layers: layers.
        num_heads: heads of both attentions.
        feedforward_dim: hidden width of the feed-forward networks.
        rope_theta: base of the rotary frequencies.
        memory_grid: side of the grid of a memory's tokens; where None, it is the features' grid.
    """

    def __init__(
        self,
        d_model: int,
        memory_dim: int,
        num_layers: int = 4,
        num_heads: int = 1,
        feedforward_dim: int = 2048,
        rope_theta: float = 10000.0,
        memory_grid: int | None = None,
    ) -> None:
        super().__init__()
        self.head_dim = d_model // num_heads
        self.rope_theta = rope_theta
        self.memory_grid = memory_grid
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(d_model, memory_dim, num_heads, feedforward_dim) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(self, features: Tensor, position: Tensor, memory: MemoryTokens) -> Tensor:
        """Condition image features on memories.

        Args:
            features: (1 or B, C, H, W). One map serves all B objects: the first self-attention, which does not
                depend on a memory, is computed once.
            position: (1, C, H, W) sine encoding of the grid.
            memory: of B objects; its tokens are maps on the memory's grid, then others, which are not rotated.

        Returns:
            (B, C, H, W).
        """
        height, width = features.shape[-2:]
        rotations = axial_rotations(self.head_dim, height, width, self.rope_theta, features.device)
        side, key_rotations = self.memory_grid, None
        if side is not None:
            key_rotations = axial_rotations(self.head_dim, side, side, self.rope_theta, features.device)
        x = (features + _INPUT_POSITION_WEIGHT * position).flatten(2).transpose(1, 2)  # (1 or B, HW, C)
        keys = memory.tokens + memory.position
        for layer in self.layers:
            x = layer(x, keys, memory.tokens, rotations, memory.num_unplaced_tokens, key_rotations)
        return self.norm(x).transpose(1, 2).unflatten(-1, (height, width))
