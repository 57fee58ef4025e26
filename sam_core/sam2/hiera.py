"""Hiera, the hierarchical vision transformer that SAM 2 uses as its image trunk.

Source: "Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles" (Ryali et al., ICML 2023); windowed
position embedding from "Window Attention is Bugged" (Bolya et al., 2023, section 4); as used in SAM 2, appendix D.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers import MLP, DotProductAttention

_NORM_EPS = 1e-6


class PatchEmbedding(nn.Module):
    """Overlapping 7×7 patches at stride 4: (B, 3, S, S) -> (B, S/4, S/4, C)."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, kernel_size=7, stride=4, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        """Embed the patches of normalised images."""
        return self.proj(images).permute(0, 2, 3, 1)


def complete_windows(x: Tensor, size: int, padding: Tensor) -> Tensor:
    """Pad (B, H, W, C) at the right and the bottom to whole windows, with tokens of value `padding` (C,)."""
    batch, height, width, channels = x.shape
    right = padding.expand(batch, height, -width % size, channels)
    x = torch.cat((x, right), dim=2)
    bottom = padding.expand(batch, -height % size, x.shape[2], channels)
    return torch.cat((x, bottom), dim=1)


def split_windows(x: Tensor, size: int) -> Tensor:
    """Cut (B, H, W, C) into (B * windows, size, size, C)."""
    x = x.unflatten(2, (-1, size)).unflatten(1, (-1, size))  # (B, rows, size, columns, size, C)
    return x.transpose(2, 3).flatten(0, 2)


def join_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Put (B * windows, size, size, C) back together as (B, height, width, C), dropping the padding."""
    size = windows.shape[1]
    rows, columns = -(-height // size), -(-width // size)
    x = windows.unflatten(0, (-1, rows, columns)).transpose(2, 3)  # (B, rows, size, columns, size, C)
    return x.flatten(3, 4).flatten(1, 2)[:, :height, :width]


def max_pool(x: Tensor, stride: int) -> Tensor:
    """Max-pool a channels-last map: (B, H, W, C) to (B, H / stride, W / stride, C)."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), kernel_size=stride, stride=stride).permute(0, 2, 3, 1)


class MultiScaleAttention(nn.Module):
    """Self-attention inside each window, whose queries may be pooled to a coarser grid."""

    def __init__(self, dim: int, dim_out: int, num_heads: int, query_stride: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_stride = query_stride
        self.qkv = nn.Linear(dim, 3 * dim_out)
        self.proj = nn.Linear(dim_out, dim_out)
        self.attend = DotProductAttention()

    def forward(self, x: Tensor, window_size: int) -> Tensor:
        """Map (B, H, W, C) to (B, H / stride, W / stride, dim_out).

        Windows that do not fit are padded with zeros, which `qkv` maps to its bias. Padding with that bias after
        `qkv`, and cropping before `proj`, gives the same numbers and projects only the tokens of the image.

        Args:
            x: the map.
            window_size: side of a window in tokens of `x`; 0 attends over the whole map.
        """
        height, width = x.shape[1] // self.query_stride, x.shape[2] // self.query_stride
        if not window_size:
            qkv = self.qkv(x)
        elif x.shape[1] % window_size == x.shape[2] % window_size == 0:
            qkv = self.qkv(split_windows(x, window_size))
        else:
            qkv = split_windows(complete_windows(self.qkv(x), window_size, self.qkv.bias), window_size)
        q, k, v = qkv.chunk(3, dim=-1)
        if self.query_stride > 1:
            q = max_pool(q, self.query_stride)
        out = self.attend(*(self._split_heads(x) for x in (q, k, v)))
        out = out.transpose(1, 2).flatten(2).unflatten(1, q.shape[1:3])
        return self.proj(join_windows(out, height, width) if window_size else out)

    def _split_heads(self, x: Tensor) -> Tensor:
        """Reshape (B, H, W, heads * C) to (B, heads, H * W, C)."""
        return x.flatten(1, 2).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class MultiScaleBlock(nn.Module):
    """Transformer block on windows (or the whole map); the first of a stage halves the grid and widens channels.

    Args:
        dim: channels in.
        dim_out: channels out.
        num_heads: attention heads.
        window_size: side of a window in tokens; 0 attends over the whole map.
        query_stride: pooling of the queries (and of the shortcut), 1 for none.
        mlp_ratio: hidden width of the MLP over `dim_out`.

    Raises:
        ValueError: pooling does not divide the window.
    """

    def __init__(
        self, dim: int, dim_out: int, num_heads: int, window_size: int, query_stride: int, mlp_ratio: float
    ) -> None:
        super().__init__()
        if window_size % query_stride:
            raise ValueError(f"a window of {window_size} that is pooled must be a multiple of {query_stride}.")
        self.window_size = window_size
        self.query_stride = query_stride
        self.norm1 = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.attn = MultiScaleAttention(dim, dim_out, num_heads, query_stride)
        self.norm2 = nn.LayerNorm(dim_out, eps=_NORM_EPS)
        self.mlp = MLP(dim_out, int(dim_out * mlp_ratio), dim_out, num_layers=2, activation="gelu")
        self.proj = nn.Linear(dim, dim_out) if dim != dim_out else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, dim) to (B, H / stride, W / stride, dim_out)."""
        shortcut = x
        x = self.norm1(x)
        if self.proj is not None:
            shortcut = self.proj(x)
            if self.query_stride > 1:
                shortcut = max_pool(shortcut, self.query_stride)
        x = shortcut + self.attn(x, self.window_size)
        return x + self.mlp(self.norm2(x))


class Hiera(nn.Module):
    """Image trunk: four stages at strides 4, 8, 16 and 32.

    Args:
        embed_dim: channels of the first stage; doubled (`dim_mul`) at each later one.
        num_heads: heads of the first stage; doubled (`head_mul`) at each later one.
        stages: blocks per stage.
        global_att_blocks: indices of the blocks that attend over the whole map.
        window_pos_embed_bkg_spatial_size: (rows, columns) of the learnt background position embedding.
        window_spec: window side per stage, in tokens of that stage.
        query_stride: pooling between stages.
        dim_mul: growth of channels between stages.
        head_mul: growth of heads between stages.
        mlp_ratio: hidden width of each MLP over its channels.

    Raises:
        ValueError: not one window size a stage, or one that pooling does not divide.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        stages: Sequence[int],
        global_att_blocks: Sequence[int],
        window_pos_embed_bkg_spatial_size: Sequence[int] = (14, 14),
        window_spec: Sequence[int] = (8, 4, 14, 7),
        query_stride: int = 2,
        dim_mul: float = 2.0,
        head_mul: float = 2.0,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        if len(stages) != len(window_spec):
            raise ValueError(f"{len(stages)} stages need as many window sizes, not {len(window_spec)}.")
        self.patch_embed = PatchEmbedding(embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, embed_dim, *window_pos_embed_bkg_spatial_size))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, embed_dim, window_spec[0], window_spec[0]))
        self.blocks = nn.ModuleList()
        self.stage_ends: list[int] = []
        self.channels: list[int] = []  # per stage, finest first
        dim = embed_dim
        for stage, depth in enumerate(stages):
            for place in range(depth):
                enters_stage = stage > 0 and place == 0
                dim_out = int(dim * dim_mul) if enters_stage else dim
                num_heads = int(num_heads * head_mul) if enters_stage else num_heads
                # The block that enters a stage still sees the windows of the stage before it.
                window = window_spec[stage - 1] if enters_stage else window_spec[stage]
                self.blocks.append(
                    MultiScaleBlock(
                        dim,
                        dim_out,
                        num_heads,
                        window_size=0 if len(self.blocks) in global_att_blocks else window,
                        query_stride=query_stride if enters_stage else 1,
                        mlp_ratio=mlp_ratio,
                    )
                )
                dim = dim_out
            self.stage_ends.append(len(self.blocks) - 1)
            self.channels.append(dim)

    def position_embedding(self, height: int, width: int) -> Tensor:
        """Return the (1, height, width, C) embedding: a stretched background plus a tiled window.

        Raises:
            ValueError: the first window does not divide the grid.
        """
        side = self.pos_embed_window.shape[-1]
        if height % side or width % side:
            raise ValueError(
                f"the token grid {height}×{width} (image size / 4) must be a multiple of the first window, {side}."
            )

        background = F.interpolate(self.pos_embed, size=(height, width), mode="bicubic")
        window = self.pos_embed_window.tile(1, 1, height // side, width // side)
        return (background + window).permute(0, 2, 3, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return one feature map per stage, finest first: (B, C_i, S / 2^(i+2), S / 2^(i+2)), channels last."""
        x = self.patch_embed(images.contiguous(memory_format=torch.channels_last))
        x = x + self.position_embedding(x.shape[1], x.shape[2])
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.stage_ends:
                maps.append(x.permute(0, 3, 1, 2))
        return maps
