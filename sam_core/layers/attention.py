"""Multi-head attention as SAM and SAM 2 use it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers.rotary import apply_rotary, axial_rotary_table


class Attention(nn.Module):
    """Attention whose inner width may be smaller than the embedding's (SAM paper, appendix A).

    Args:
        embedding_dim: channels of queries and output.
        num_heads: heads; divides the inner width.
        downsample_rate: the inner width is `embedding_dim / downsample_rate`.
        kv_in_dim: channels of keys and values; the queries' where None.
    """

    def __init__(
        self, embedding_dim: int, num_heads: int, downsample_rate: int = 1, kv_in_dim: int | None = None
    ) -> None:
        super().__init__()
        inner_dim = embedding_dim // downsample_rate
        if inner_dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide the attention width {inner_dim}.")
        kv_in_dim = embedding_dim if kv_in_dim is None else kv_in_dim
        self.num_heads = num_heads
        self.head_dim = inner_dim // num_heads
        self.q_proj = nn.Linear(embedding_dim, inner_dim)
        self.k_proj = nn.Linear(kv_in_dim, inner_dim)
        self.v_proj = nn.Linear(kv_in_dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, embedding_dim)

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, N, heads * C) -> (B, heads, N, C)."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, heads, N, C) -> (B, N, embedding_dim), through the output projection."""
        return self.out_proj(x.transpose(1, 2).flatten(-2))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from q (B, N, C) to k, v (B, M, C_kv); returns (B, N, C)."""
        q = self.split_heads(self.q_proj(q))
        k = self.split_heads(self.k_proj(k))
        v = self.split_heads(self.v_proj(v))
        return self.merge_heads(F.scaled_dot_product_attention(q, k, v))


class RotaryAttention(Attention):
    """Attention with axial rotary position encoding on queries and on (most of) the keys."""

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        downsample_rate: int = 1,
        kv_in_dim: int | None = None,
        rope_theta: float = 10000.0,
    ) -> None:
        super().__init__(embedding_dim, num_heads, downsample_rate, kv_in_dim)
        self.rope_theta = rope_theta

    def forward(  # type: ignore[override]
        self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], num_unrotated_keys: int = 0
    ) -> Tensor:
        """Attend from the tokens of an image to themselves or to a memory.

        Args:
            q: (B, H * W, C) tokens of a feature map.
            k: (B, r * H * W + P, C_kv) keys: r maps on the same grid (the table repeats), then P others.
            v: (B, r * H * W + P, C_kv) values.
            grid: (H, W) of the feature map.
            num_unrotated_keys: P, keys at the end that have no place in the image (object pointers).

        Returns:
            (B, H * W, C).
        """
        table = axial_rotary_table(self.head_dim, *grid, self.rope_theta, q.device)
        q = apply_rotary(self.split_heads(self.q_proj(q)), table)
        k = self.split_heads(self.k_proj(k))
        v = self.split_heads(self.v_proj(v))
        num_rotated = k.shape[-2] - num_unrotated_keys
        if num_unrotated_keys:
            k = torch.cat((apply_rotary(k[..., :num_rotated, :], table), k[..., num_rotated:, :]), dim=-2)
        else:
            k = apply_rotary(k, table)
        return self.merge_heads(F.scaled_dot_product_attention(q, k, v))
