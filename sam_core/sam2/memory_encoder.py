"""Memory encoder: makes a memory map of a frame's features and an object's mask.

Source: SAM 2 (Ravi et al., 2024), section 4 "Memory encoder"; the fuser's block is ConvNeXt's (Liu et al., 2022).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers import LayerNorm2d


class MaskDownsampler(nn.Module):
    """Strided convolutions that reduce a full-size mask to the feature grid, with four times the channels at each step.

    Args:
        embed_dim: channels of the result.
        total_stride: side of the mask over that of the result, a power of 2.
    """

    def __init__(self, embed_dim: int, total_stride: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential()
        channels = 1
        for _ in range(total_stride.bit_length() - 1):
            self.encoder.append(nn.Conv2d(channels, 4 * channels, kernel_size=3, stride=2, padding=1))
            channels *= 4
            self.encoder.append(LayerNorm2d(channels))
            self.encoder.append(nn.GELU())
        self.encoder.append(nn.Conv2d(channels, embed_dim, kernel_size=1))

    def forward(self, mask: Tensor) -> Tensor:
        """Map (B, 1, S, S) to (B, embed_dim, S / total_stride, S / total_stride)."""
        return self.encoder(mask)


class FuserBlock(nn.Module):
    """ConvNeXt block: depthwise 7×7, norm, two pointwise layers, layer scale, residual.

    Args:
        dim: channels.
        layer_scale: initial factor of the residual branch.
    """

    def __init__(self, dim: int, layer_scale: float = 1e-6) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = LayerNorm2d(dim)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(layer_scale * torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        y = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)  # (B, H, W, C)
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class Fuser(nn.Module):
    """A stack of `FuserBlock`.

    Args:
        dim: channels.
        num_layers: blocks.
    """

    def __init__(self, dim: int, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FuserBlock(dim) for _ in range(num_layers))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        for layer in self.layers:
            x = layer(x)
        return x


class MemoryEncoder(nn.Module):
    """Fuse image features with a mask and project them to the memory's width.

    Args:
        d_model: channels of the image features.
        memory_dim: channels of a memory map.
        fuser_layers: ConvNeXt blocks.
        mask_stride: side of the mask that it reads over that of the features.
    """

    def __init__(self, d_model: int, memory_dim: int, fuser_layers: int = 2, mask_stride: int = 16) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(d_model, mask_stride)
        self.pix_feat_proj = nn.Conv2d(d_model, d_model, kernel_size=1)
        self.fuser = Fuser(d_model, fuser_layers)
        self.out_proj = nn.Conv2d(d_model, memory_dim, kernel_size=1)
        self.memory_dim = memory_dim
        self.mask_stride = mask_stride

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Encode memories.

        Args:
            features: (1 or B, C, H, W) image features without memory; one map serves all objects.
            mask: (B, 1, S, S) scaled mask.

        Returns:
            (B, C_mem, H, W).
        """
        return self.out_proj(self.fuser(self.pix_feat_proj(features) + self.mask_downsampler(mask)))
