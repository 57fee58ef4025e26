"""Multi-head attention as SAM and SAM 2 use it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers.rotary import rotate


class DotProductAttention(nn.Module):
    """Scaled dot-product attention. A module without weights, so that a backend can replace it."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return softmax(q kᵀ / √C) v.

        Args:
            q: (B, heads, N, C) queries.
            k: (B, heads, M, C) keys.
            v: (B, heads, M, C) values.

        Returns:
            (B, heads, N, C).
        """
        return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Attention whose inner width may be smaller than the embedding's (SAM paper, appendix A).

    Args:
        embedding_dim: channels of queries and output.
        num_heads: heads; divides the inner width.
        downsample_rate: the inner width is `embedding_dim / downsample_rate`.
        kv_in_dim: channels of keys and values; those of the queries where None.

    Raises:
        ValueError: the heads do not divide the inner width.
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
        self.attend = DotProductAttention()

    def split_heads(self, x: Tensor) -> Tensor:
        """Reshape (B, N, heads * C) to (B, heads, N, C)."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        """Reshape (B, heads, N, C) to (B, N, heads * C)."""
        return x.transpose(1, 2).flatten(-2)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from q (B, N, C) to k, v (B, M, C_kv); returns (B, N, C)."""
        q = self.split_heads(self.q_proj(q))
        k = self.split_heads(self.k_proj(k))
        v = self.split_heads(self.v_proj(v))
        return self.out_proj(self.merge_heads(self.attend(q, k, v)))


class RotaryAttention(Attention):
    """Attention with axial rotary position encoding of queries and keys."""

    def forward(  # type: ignore[override]
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        rotations: Tensor,
        num_unrotated_keys: int = 0,
        key_rotations: Tensor | None = None,
    ) -> Tensor:
        """Attend from the tokens of a feature map to themselves or to a memory.

        Args:
            q: (1 or B, N, C) tokens of a feature map; one map serves the whole batch.
            k: (B, r * M + P, C_kv) keys: r maps on one grid of M tokens, then P other tokens.
            v: (B, r * M + P, C_kv) values.
            rotations: (N, head_dim / 2, 2) of `axial_rotations`.
            num_unrotated_keys: P, keys at the end that have no place in the image (object pointers).
            key_rotations: (M, head_dim / 2, 2) of the keys' grid; where None, it is that of the queries.

        Returns:
            (B, N, C).
        """
        q = rotate(self.split_heads(self.q_proj(q)), rotations)
        key_rotations = rotations if key_rotations is None else key_rotations
        k = rotate(self.split_heads(self.k_proj(k)), key_rotations, num_unrotated_keys)
        v = self.split_heads(self.v_proj(v))
        q = q.expand(v.shape[0], -1, -1, -1)
        return self.out_proj(self.merge_heads(self.attend(q, k, v)))
