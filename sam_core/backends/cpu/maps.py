"""Feature maps: convolutions, a cached position embedding, a norm of few channels."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.backends.cpu.weight_cache import WeightCache, applies_to, replace
from sam_core.layers import LayerNorm2d
from sam_core.sam2 import Sam2
from sam_core.sam2.hiera import Hiera
from sam_core.sam2.image_encoder import ImageEncoder

# With fewer channels PyTorch's layer norm, which works pixel by pixel, is slower than operations on whole planes.
_FEW_CHANNELS = 16


def itemwise(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function to each item of the batch alone; a batch of one is not copied."""
    parts = [function(item) for item in x.split(1)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class CachedHiera(Hiera):
    """Hiera that keeps the position embedding of the grid in use."""

    cache: WeightCache

    def position_embedding(self, height: int, width: int) -> Tensor:
        """Return the (1, height, width, C) embedding."""
        if not applies_to(self.pos_embed):
            return super().position_embedding(height, width)

        def compute() -> Tensor:
            return super(CachedHiera, self).position_embedding(height, width).contiguous()

        return self.cache.get([self.pos_embed, self.pos_embed_window], compute, key=(height, width))


class PlanarLayerNorm2d(LayerNorm2d):
    """Layer norm that computes on whole planes where there are few channels."""

    cache: WeightCache

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map, same shape and dtype as `x` (B, C, H, W), channels last."""
        if x.shape[1] >= _FEW_CHANNELS or not applies_to(x):
            return super().forward(x)
        centred = x - x.mean(1, keepdim=True)
        variance = centred.square().mean(1, keepdim=True)
        x = centred * torch.rsqrt(variance + self.eps) * self.weight[:, None, None] + self.bias[:, None, None]
        return x.contiguous(memory_format=torch.channels_last)


class ItemwiseConv2d(nn.Conv2d):
    """Convolution of one item of the batch at a time: PyTorch chooses the kernel by the size of the batch."""

    cache: WeightCache

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H', W')."""
        convolve = super().forward
        return itemwise(convolve, x) if applies_to(x) else convolve(x)


class LinearConvTranspose2d(nn.ConvTranspose2d):
    """Transposed convolution whose patches do not overlap, as a linear map from one pixel to a patch of k × k.

    On CPUs without bfloat16 arithmetic, PyTorch's own kernel for it rounds an item by the batch that it is in.
    """

    cache: WeightCache

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Map (B, in_channels, H, W) to (B, out_channels, k * H, k * W), channels last."""
        if not applies_to(x) or self.bias is None or self.stride != self.kernel_size:
            return super().forward(x)
        weight, bias = self.cache.get([self.weight, self.bias], self._as_linear)
        patches = F.linear(x.permute(0, 2, 3, 1).contiguous(), weight, bias).unflatten(-1, (*self.kernel_size, -1))
        return patches.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)

    def _as_linear(self) -> tuple[Tensor, Tensor]:
        assert self.bias is not None
        weight = self.weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous()  # (k * k * out_channels, in_channels)
        return weight, self.bias.repeat(weight.shape[0] // self.bias.shape[0])


class PassedOn(nn.Conv2d):
    """1×1 convolution that leaves its work to the `MergedConv2d` that reads its result."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x if applies_to(x) else super().forward(x)


class MergedConv2d(nn.Conv2d):
    """1×1 convolution that also does the work of the one before it: two linear maps of channels in a row are one."""

    cache: WeightCache
    before: PassedOn

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels of the convolution before, H, W) to (B, out_channels, H, W)."""
        if not applies_to(x):
            return super().forward(x)
        assert self.bias is not None
        assert self.before.bias is not None
        weights = [self.before.weight, self.before.bias, self.weight, self.bias]
        return F.conv2d(x, *self.cache.get(weights, self._merge))

    def _merge(self) -> tuple[Tensor, Tensor]:
        assert self.bias is not None
        assert self.before.bias is not None
        outer = self.weight[:, :, 0, 0].double()
        weight = outer @ self.before.weight[:, :, 0, 0].double()
        bias = outer @ self.before.bias.double() + self.bias.double()
        return weight[:, :, None, None].to(self.weight.dtype), bias.to(self.bias.dtype)


def merge_skips(model: Sam2) -> None:
    """Merge the neck's convolutions of the fine levels with the decoder's that alone read them, in place (SAM 2).

    The wide maps between them, the largest of the image encoder, are then never computed.
    """
    if not isinstance(model.image_encoder, ImageEncoder):
        return
    neck, decoder = model.image_encoder.neck, model.sam_mask_decoder
    for level, second in enumerate((decoder.conv_s0, decoder.conv_s1)):
        first = neck.convs[len(neck.convs) - 1 - level].conv
        if level < neck.first_top_down and type(first) is nn.Conv2d:
            replace(first, PassedOn)
            replace(second, MergedConv2d, before=first)
