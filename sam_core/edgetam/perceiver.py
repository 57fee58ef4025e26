"""The 2D spatial perceiver: a map of memories becomes a few latent tokens.

Source: "EdgeTAM: On-Device Track Anything Model" (Zhou et al., CVPR 2025), section 3.3; a latent attends as in
"Perceiver" (Jaegle et al., 2021). Tokens are (B, W, N, C): N tokens in each of W windows, which do not see each other.
Global latents have one window, the whole map.
"""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn

from sam_core.layers import DotProductAttention, SinePositionEncoding

__all__ = ["SpatialPerceiver"]


class LatentAttention(nn.Module):
    """Attention of one head whose keys and values are one projection, without biases.

    Args:
        dim: channels of the tokens.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)
        self.attend = DotProductAttention()

    def attend_to(self, queries: Tensor, context: Tensor, position: Tensor | None = None) -> Tensor:
        """Attend from queries (B, W, N, C) to a context (B, W, M, C).

        Args:
            queries: normalised.
            context: normalised.
            position: (1, 1, M, C) added to keys and values alike.

        Returns:
            (B, W, N, C).
        """
        q, (k, v) = self.to_q(queries), self.to_kv(context).chunk(2, dim=-1)
        if position is not None:
            k, v = k + position, v + position
        attended = self.attend(*(t.flatten(0, 1)[:, None] for t in (q, k, v)))  # (B W, 1, N, C)
        return self.to_out(attended[:, 0].unflatten(0, queries.shape[:2]))


class CrossAttention(LatentAttention):
    """Cross-attention of latents to the map."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.norm_x = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)

    def forward(self, latents: Tensor, x: Tensor, position: Tensor | None) -> Tensor:
        """Return an update (B, W, N, C) of latents (B, W, N, C) by a map's tokens (B, W, M, C)."""
        return self.attend_to(self.norm_latents(latents), self.norm_x(x), position)


class SelfAttention(LatentAttention):
    """Self-attention of the latents of a window."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, latents: Tensor) -> Tensor:
        """Return an update of latents (B, W, N, C)."""
        latents = self.norm(latents)
        return self.attend_to(latents, latents)


def _feed_forward(dim: int, ratio: int) -> nn.Sequential:
    hidden = ratio * dim
    return nn.Sequential(
        nn.LayerNorm(dim), nn.Linear(dim, hidden, bias=False), nn.GELU(), nn.Linear(hidden, dim, bias=False)
    )


class PerceiverLayer(nn.Module):
    """Cross-attention and self-attention, each followed by a feed-forward network, all residual.

    Args:
        dim: channels of the tokens.
        mlp_ratio: hidden width of the feed-forward networks over `dim`.
    """

    def __init__(self, dim: int, mlp_ratio: int) -> None:
        super().__init__()
        self.attn = CrossAttention(dim)
        self.ff = _feed_forward(dim, mlp_ratio)
        self.self_attn = SelfAttention(dim)
        self.self_ff = _feed_forward(dim, mlp_ratio)

    def forward(self, latents: Tensor, x: Tensor, position: Tensor | None = None) -> Tensor:
        """Update latents (B, W, N, C) by a map's tokens (B, W, M, C)."""
        latents = latents + self.attn(latents, x, position)
        latents = latents + self.ff(latents)
        latents = latents + self.self_attn(latents)
        return latents + self.self_ff(latents)


class SpatialPerceiver(nn.Module):
    """Summarise a memory map by global latents and by a grid of latents, each of which sees one window of the map.

    Args:
        dim: channels of the memory.
        num_latents: global latents, which have no place.
        num_latents_2d: latents of the grid, a square number.
        depth: layers; both kinds go through the same.
        mlp_ratio: hidden width of the feed-forward networks over `dim`.

    Raises:
        ValueError: the number of latents of the grid is not a square.
    """

    def __init__(self, dim: int, num_latents: int, num_latents_2d: int, depth: int = 2, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.grid_size = isqrt(num_latents_2d)
        if self.grid_size**2 != num_latents_2d:
            raise ValueError(f"{num_latents_2d} latents make no square grid.")
        self.latents = nn.Parameter(torch.randn(num_latents, dim))
        self.latents_2d = nn.Parameter(torch.randn(num_latents_2d, dim))
        self.layers = nn.ModuleList(PerceiverLayer(dim, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.position = SinePositionEncoding(dim)

    @property
    def num_global(self) -> int:
        """Number of latents without a place."""
        return self.latents.shape[0]

    @property
    def num_tokens(self) -> int:
        """Number of latents."""
        return self.latents.shape[0] + self.latents_2d.shape[0]

    def forward(self, memory: Tensor) -> Tensor:
        """Summarise maps.

        Args:
            memory: (B, C, h, w); the sides are multiples of the grid's.

        Returns:
            (B, C, num_tokens): the global latents, then the grid's, row by row.
        """
        batch, side = memory.shape[0], self.grid_size
        place = self.position(memory).flatten(2).transpose(1, 2)[:, None]  # (1, 1, h w, C)
        whole = memory.flatten(2).transpose(1, 2)[:, None]  # (B, 1, h w, C)
        rows, columns = (size // side for size in memory.shape[2:])
        windows = memory.unflatten(3, (side, columns)).unflatten(2, (side, rows))  # (B, C, side, rows, side, columns)
        windows = windows.permute(0, 2, 4, 3, 5, 1).flatten(1, 2).flatten(2, 3)  # (B, side², rows columns, C)
        latents = self.latents.expand(batch, 1, -1, -1)
        gridded = self.latents_2d[:, None].expand(batch, -1, -1, -1)  # (B, side², 1, C)
        for layer in self.layers:
            latents, gridded = layer(latents, whole, place), layer(gridded, windows)
        return self.norm(torch.cat((latents[:, 0], gridded[:, :, 0]), dim=1)).transpose(1, 2)
