"""Convolutions of RepViT with their batch normalisation, and their parallel branches, folded into one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.backends.cpu.maps import itemwise
from sam_core.backends.cpu.weight_cache import WeightCache, applies_to
from sam_core.edgetam.repvit import ConvNorm, TokenMixer


class FoldedConvNorm(ConvNorm):
    """`ConvNorm` as one convolution of one item of the batch at a time (see `ItemwiseConv2d`)."""

    cache: WeightCache

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        if self.training or not applies_to(x):
            return super().forward(x)
        weight, bias = self.cache.get(self.tensors(), lambda: _in_dtype(self.folded(), x.dtype), key=x.dtype)
        c = self.c
        return itemwise(lambda item: F.conv2d(item, weight, bias, c.stride, c.padding, groups=c.groups), x)


class FoldedTokenMixer(TokenMixer):
    """`TokenMixer` as one depthwise convolution."""

    cache: WeightCache

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape (B, C, H, W)."""
        if self.training or not applies_to(x):
            return super().forward(x)
        weight, bias = self.cache.get(self.tensors(), lambda: _in_dtype(self.folded(), x.dtype), key=x.dtype)
        return itemwise(lambda item: F.conv2d(item, weight, bias, padding=1, groups=x.shape[1]), x)


def _in_dtype(tensors: tuple[Tensor, Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    weight, bias = tensors
    return weight.to(dtype), bias.to(dtype)
