"""Memory attention: the current frame's features look at themselves, then at what is remembered.

Source: SAM 2 (Ravi et al., 2024), section 4 "Memory attention" and appendix D.1.
"""

from __future__ import annotations

from torch import Tensor, nn

from sam_core.layers import Linear, RotaryAttention

# Share of the sine position encoding that is added to the features before the first layer.
_INPUT_POSITION_WEIGHT = 0.1


class MemoryAttentionLayer(nn.Module):
    """Pre-norm self-attention, cross-attention to the memory, and feed-forward network."""

    def __init__(self, d_model: int, memory_dim: int, num_heads: int, feedforward_dim: int, rope_theta: float) -> None:
        super().__init__()
        self.self_attn = RotaryAttention(d_model, num_heads, rope_theta=rope_theta)
        self.cross_attn_image = RotaryAttention(d_model, num_heads, kv_in_dim=memory_dim, rope_theta=rope_theta)
        self.linear1 = Linear(d_model, feedforward_dim, "relu")
        self.linear2 = Linear(feedforward_dim, d_model)
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.norm3 = nn.LayerNorm(d_model)

    def attend_to_self(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """First half of the layer; it does not see the memory, so it is the same for every object of a frame."""
        normed = self.norm1(x)
        return x + self.self_attn(normed, normed, normed, grid)

    def attend_to_memory(
        self, x: Tensor, keys: Tensor, values: Tensor, grid: tuple[int, int], num_pointer_tokens: int
    ) -> Tensor:
        """Second half of the layer: cross-attention and feed-forward network.

        Args:
            x: (1 or B, H * W, C); what is asked is the same for every object as long as `x` is.
            keys: (B, L, C_mem).
            values: (B, L, C_mem).
            grid: (H, W).
            num_pointer_tokens: how many of the L have no place in the image.

        Returns:
            (B, H * W, C).
        """
        x = x + self.cross_attn_image(self.norm2(x), keys, values, grid, num_pointer_tokens)
        return x + self.linear2(self.linear1(self.norm3(x)))


class MemoryAttention(nn.Module):
    """Stack of memory attention layers.

    Args:
        d_model: channels of the image features.
        memory_dim: channels of a memory token.
        num_layers: layers.
        num_heads: heads of both attentions.
        feedforward_dim: hidden width of the feed-forward networks.
        rope_theta: base of the rotary frequencies.
    """

    def __init__(
        self,
        d_model: int,
        memory_dim: int,
        num_layers: int = 4,
        num_heads: int = 1,
        feedforward_dim: int = 2048,
        rope_theta: float = 10000.0,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(d_model, memory_dim, num_heads, feedforward_dim, rope_theta) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(
        self,
        features: Tensor,
        position: Tensor,
        memory: Tensor,
        memory_position: Tensor,
        num_pointer_tokens: int,
    ) -> Tensor:
        """Condition image features on memories.

        Args:
            features: (1 or B, C, H, W); one map serves all B objects, and is one until they look at memory.
            position: (1, C, H, W) sine encoding of the grid.
            memory: (B, r * H * W + P, C_mem) tokens: r maps, then P pointer tokens.
            memory_position: (B or 1, r * H * W + P, C_mem) encoding added to the keys alone.
            num_pointer_tokens: P, excluded from rotary encoding.

        Returns:
            (B, C, H, W).
        """
        grid = (features.shape[-2], features.shape[-1])
        x = (features + _INPUT_POSITION_WEIGHT * position).flatten(2).transpose(1, 2)  # (B, HW, C)
        keys = memory + memory_position
        for layer in self.layers:
            assert isinstance(layer, MemoryAttentionLayer)
            x = layer.attend_to_self(x, grid)
            x = layer.attend_to_memory(x, keys, memory, grid, num_pointer_tokens)
        return self.norm(x).transpose(1, 2).unflatten(-1, grid)
