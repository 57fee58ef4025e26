"""Multi-head attention under the parameter names of `torch.nn.MultiheadAttention`, on fused kernels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PackedAttention(nn.Module):
    """Attention whose query, key and value projections share one matrix (Vaswani et al., 2017, section 3.2.2).

    Args:
        width: channels of queries, keys, values and output.
        num_heads: heads; divides `width`.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"{num_heads} heads do not divide the attention width {width}.")
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Attend from the queries to the keys.

        Args:
            query: (B, N, C).
            key: (B, M, C).
            value: (B, M, C).
            bias: added to the logits (float) or telling which keys count (bool); broadcastable to (B, heads, N, M).
            causal: let token i see tokens 0 … i alone; not together with `bias`.

        Returns:
            (B, N, C).
        """
        weights = self.in_proj_weight.chunk(3)
        offsets = self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, weight, offset).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x, weight, offset in zip((query, key, value), weights, offsets, strict=True)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=causal)
        return self.out_proj(mixed.transpose(1, 2).flatten(-2))


def key_mask(valid: Tensor | None) -> Tensor | None:
    """Shape a (B, M) mask of valid keys for `PackedAttention`'s `bias`: (B, 1, 1, M)."""
    return None if valid is None else valid[:, None, None, :]
