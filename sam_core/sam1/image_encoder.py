"""SAM 1's image encoder: a plain vision transformer with windows, and a neck.

Source: "Segment Anything" (Kirillov et al., 2023), appendix A "Image encoder"; "Exploring Plain Vision Transformer
Backbones for Object Detection" (Li et al., 2022), section 3; decomposed relative positions from "MViTv2" (Li et al.,
2022), section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers import MLP, LayerNorm2d
from sam_core.sam2.hiera import join_windows, split_windows

_NORM_EPS = 1e-6


class PatchEmbedding(nn.Module):
    """Patches of P × P px: (B, 3, S, S) -> (B, S / P, S / P, C)."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Embed the patches of normalised images."""
        return self.proj(images).permute(0, 2, 3, 1)


def relative_positions(table: Tensor, side: int) -> Tensor:
    """Look up the embedding of each pair of places along an axis.

    Args:
        table: (2 side - 1, C) embeddings of the distances -(side - 1) … side - 1.
        side: places along the axis.

    Returns:
        (side, side, C), by the place of the query and of the key.
    """
    places = torch.arange(side, device=table.device)
    return table[places[:, None] - places + side - 1]


class RelativeAttention(nn.Module):
    """Self-attention over a square map, with a learnt bias for the distance of rows and for that of columns.

    Args:
        width: channels.
        num_heads: heads.
        side: side of the map, or of a window, in tokens.
        heads_at_once: heads that are computed together. A head's bias has side⁴ numbers: 64 MiB in float32 over the map
            of 1024 px.
    """

    def __init__(self, width: int, num_heads: int, side: int, heads_at_once: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.heads_at_once = heads_at_once
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // num_heads))

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each map; (B, side, side, C) to the same shape."""
        side = x.shape[1]
        q, k, v = (
            part.flatten(1, 2).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )  # (B, heads, side², C / heads)
        n = self.heads_at_once
        parts = zip(q.split(n, dim=1), k.split(n, dim=1), v.split(n, dim=1), strict=True)
        out = torch.cat([self._attend(*part, side) for part in parts], dim=1)
        return self.proj(out.transpose(1, 2).flatten(2).unflatten(1, (side, side)))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, side: int) -> Tensor:
        """Attend with some heads; (B, n, side², C / heads) each, to the same shape."""
        grid = q.unflatten(2, (side, side))
        rows = torch.einsum("bnyxc,ykc->bnyxk", grid, relative_positions(self.rel_pos_h, side))
        columns = torch.einsum("bnyxc,xkc->bnyxk", grid, relative_positions(self.rel_pos_w, side))
        bias = (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)  # (B, n, side², side²)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


class Block(nn.Module):
    """Transformer block over windows or the whole map; pre-norm.

    Args:
        width: channels.
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLP over `width`.
        grid_size: side of the whole map in tokens.
        window: side of a window in tokens; 0 attends over the whole map.
    """

    def __init__(self, width: int, num_heads: int, mlp_ratio: float, grid_size: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.attn = RelativeAttention(width, num_heads, window or grid_size, heads_at_once=num_heads if window else 1)
        self.norm2 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.mlp = MLP(width, int(width * mlp_ratio), width, num_layers=2, activation="gelu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape. Windows that do not fit are filled up with zeros after the norm."""
        height, width = x.shape[1:3]
        attended = self.norm1(x)
        if self.window:
            padded = F.pad(attended, (0, 0, 0, -width % self.window, 0, -height % self.window))
            attended = join_windows(self.attn(split_windows(padded, self.window)), height, width)
        else:
            attended = self.attn(attended)
        x = x + attended
        return x + self.mlp(self.norm2(x))


class ImageEncoder(nn.Module):
    """The vision transformer of SAM 1: ViT-B, ViT-L or ViT-H.

    Args:
        image_size: side of the square input in px.
        patch_size: side of a patch in px.
        width: channels of the transformer.
        depth: blocks.
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLPs over `width`.
        window: side of the windows in tokens.
        global_blocks: indices of the blocks that attend over the whole map.
        out_channels: channels of the result.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        width: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        window: int,
        global_blocks: Sequence[int],
        out_channels: int,
    ) -> None:
        super().__init__()
        grid = image_size // patch_size
        self.patch_embed = PatchEmbedding(width, patch_size)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(
            Block(width, num_heads, mlp_ratio, grid, 0 if i in global_blocks else window) for i in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, out_channels, kernel_size=1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Encode normalised images (B, 3, S, S) as (B, out_channels, S / P, S / P)."""
        x = self.patch_embed(images) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))
