"""The vision transformer of SAM 3's image encoder: windowed blocks, a few global ones, rotary positions.

Plain ViT with window attention as in "Exploring Plain Vision Transformer Backbones for Object Detection" (Li et al.,
2022), pretrained as the Perception Encoder (Bolya et al., 2025).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.sam3.rotary import axial_rotations, rotate


class PatchEmbedding(nn.Module):
    """Cut an image into patches and embed each linearly, without a bias."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, S / patch, S / patch, width)."""
        return self.proj(images).permute(0, 2, 3, 1)


class RotarySelfAttention(nn.Module):
    """Self-attention over a square grid of tokens with rotary positions.

    Args:
        width: channels.
        num_heads: heads.
        grid: tokens along each side of the window (or of the whole map).
        position_scale: factor on the positions (see `axial_rotations`).
    """

    freqs_cis: Tensor

    def __init__(self, width: int, num_heads: int, grid: int, position_scale: float) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"{num_heads} heads do not divide the attention width {width}.")
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.register_buffer("freqs_cis", axial_rotations(width // num_heads, grid, position_scale))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RotarySelfAttention:
        """Move like any module, but keep the rotations complex when the weights become half precision."""
        rotations = self._buffers.pop("freqs_cis")
        assert rotations is not None
        super()._apply(fn, recurse)
        device = fn(torch.empty(0, device=rotations.device)).device
        self._buffers["freqs_cis"] = rotations.to(device)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Mix the tokens of `x` (B, grid, grid, width); same shape out."""
        shape = x.shape
        # (B, N, 3 * width) -> 3 of (B, heads, N, C)
        q, k, v = self.qkv(x.flatten(1, 2)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(rotate(q, self.freqs_cis), rotate(k, self.freqs_cis), v)
        return self.proj(mixed.transpose(1, 2).reshape(shape))


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to (..., width)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """A pre-norm transformer block over a (B, H, W, C) map.

    Args:
        width: channels.
        num_heads: heads.
        mlp_ratio: width of the hidden layer over `width`.
        grid: side of the whole map in tokens.
        window: side of the attention windows in tokens; 0 attends over the whole map.
        position_scale: factor on the rotary positions.
        norm_eps: epsilon of the layer norms.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        mlp_ratio: float,
        grid: int,
        window: int,
        position_scale: float,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attn = RotarySelfAttention(width, num_heads, window or grid, position_scale)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = FeedForward(width, int(width * mlp_ratio))

    def attend(self, x: Tensor) -> Tensor:
        """Attend over the map, or within its windows; `x` (B, H, W, C), same shape out."""
        if not self.window:
            return self.attn(x)
        height, width = x.shape[1:3]
        windows, padded = split_windows(x, self.window)
        return join_windows(self.attn(windows), self.window, padded)[:, :height, :width]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def split_windows(x: Tensor, window: int) -> tuple[Tensor, tuple[int, int]]:
    """Cut a map into square windows, padding with zeros below and to the right.

    Args:
        x: (B, H, W, C).
        window: side of a window.

    Returns:
        The windows (B * rows * columns, window, window, C) and the padded (height, width).
    """
    height, width = x.shape[1:3]
    x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    padded = (x.shape[1], x.shape[2])
    tiles = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # (B, rows, window, columns, window, C)
    return tiles.transpose(2, 3).flatten(0, 2), padded


def join_windows(windows: Tensor, window: int, padded: tuple[int, int]) -> Tensor:
    """Put windows (B * rows * columns, window, window, C) back into a (B, *padded, C) map."""
    rows, columns = padded[0] // window, padded[1] // window
    tiles = windows.unflatten(0, (-1, rows, columns))
    return tiles.transpose(2, 3).flatten(3, 4).flatten(1, 2)


class Vit(nn.Module):
    """SAM 3's image trunk: one feature map at the patches' resolution.

    Args:
        image_size: side of the square input in pixels, a multiple of `patch_size`.
        patch_size: side of a patch in pixels.
        width: channels.
        depth: number of blocks.
        num_heads: heads.
        mlp_ratio: hidden width of the blocks' MLPs over `width`.
        window: side of the attention windows in tokens.
        global_blocks: indices of the blocks that attend over the whole map.
        pretrain_image_size: image side of the pretraining; its position embedding is tiled over the map.
        norm_eps: epsilon of the layer norms.
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
        pretrain_image_size: int,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise ValueError(f"the image size {image_size} is not a multiple of the patch size {patch_size}.")
        self.width = width
        self.image_size = image_size
        # What the shapes of the weights do not show.
        self.layout = (image_size, patch_size, num_heads, window, tuple(global_blocks))
        self.grid = image_size // patch_size
        self.pretrain_grid = pretrain_image_size // patch_size
        self.patch_embed = PatchEmbedding(patch_size, width)
        # One embedding a pretraining patch, after one of the class token, which the detector does not use.
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + self.pretrain_grid**2, width))
        self.ln_pre = nn.LayerNorm(width, eps=norm_eps)
        common: dict[str, Any] = {
            "width": width,
            "num_heads": num_heads,
            "mlp_ratio": mlp_ratio,
            "grid": self.grid,
            "norm_eps": norm_eps,
        }
        # Global blocks see the positions on the scale of a window, where pretraining saw them.
        self.blocks = nn.ModuleList(
            Block(window=0, position_scale=window / self.grid, **common)
            if index in global_blocks
            else Block(window=window, position_scale=1.0, **common)
            for index in range(depth)
        )
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def tiled_positions(self) -> Tensor:
        """Return the absolute position embedding repeated over the map: (1, grid, grid, width)."""
        tile = self.pos_embed[:, 1:].unflatten(1, (self.pretrain_grid, self.pretrain_grid))
        repeats = -(-self.grid // self.pretrain_grid)
        return tile.repeat(1, repeats, repeats, 1)[:, : self.grid, : self.grid]

    def forward(self, images: Tensor) -> Tensor:
        """Encode normalised images.

        Args:
            images: (B, 3, image_size, image_size).

        Returns:
            (B, width, grid, grid).
        """
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"the image encoder takes {self.image_size} x {self.image_size} px, "
                f"not {images.shape[-1]} x {images.shape[-2]}."
            )
        x = self.ln_pre(self.patch_embed(images) + self.tiled_positions())
        for block in self.blocks:
            x = block(x)
        return x.permute(0, 3, 1, 2)
