"""The segmentation head: masks of queries at a quarter of the network's input, and a mask of the whole concept.

Pixel decoder and mask embedding as in "Per-Pixel Classification is Not All You Need" (MaskFormer, Cheng et al., 2021,
section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers import MLP
from sam_core.sam3.attention import PackedAttention, key_mask
from sam_core.sam3.text import PromptTokens


class PixelDecoder(nn.Module):
    """Carries the coarsest map to the finest resolution, adding each level on the way.

    Args:
        channels: channels of all maps, a multiple of 8.
        num_stages: stages that the checkpoint has weights for; one fewer than there are levels suffices.
    """

    def __init__(self, channels: int, num_stages: int) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(num_stages))
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for _ in range(num_stages))

    def forward(self, finer: Sequence[Tensor], coarsest: Tensor) -> Tensor:
        """Decode.

        Args:
            finer: maps (1 or B, C, h, w) from fine to coarse, without the coarsest.
            coarsest: (B, C, h, w).

        Returns:
            (B, C, H, W) at the resolution of the finest.
        """
        x = coarsest
        for level, conv, norm in zip(reversed(finer), self.conv_layers, self.norms, strict=False):
            x = level + F.interpolate(x, size=level.shape[-2:], mode="nearest")
            x = F.relu(norm(conv(x)))
        return x


class MaskPredictor(nn.Module):
    """Masks as dot products of embedded queries with pixel embeddings."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mask_embed = MLP(channels, channels, channels, 3)

    def forward(self, queries: Tensor, pixels: Tensor) -> Tensor:
        """Return logits (N, h, w) of queries (N, C) over pixel embeddings (C, h, w)."""
        return torch.einsum("nc,chw->nhw", self.mask_embed(queries), pixels)


class SegmentationHead(nn.Module):
    """Pixel embeddings of an image for a prompt, and masks from them.

    Args:
        channels: channels.
        num_heads: heads of the attention to the prompt.
        num_stages: stages of the pixel decoder.
    """

    def __init__(self, channels: int, num_heads: int, num_stages: int) -> None:
        super().__init__()
        self.pixel_decoder = PixelDecoder(channels, num_stages)
        self.mask_predictor = MaskPredictor(channels)
        self.cross_attend_prompt = PackedAttention(channels, num_heads)
        self.cross_attn_norm = nn.LayerNorm(channels)
        self.semantic_seg_head = nn.Conv2d(channels, 1, 1)
        self.instance_seg_head = nn.Conv2d(channels, channels, 1)

    def forward(self, levels: Sequence[Tensor], image: Tensor, prompt: PromptTokens) -> tuple[Tensor, Tensor]:
        """Embed the pixels.

        Args:
            levels: the image's maps (1, C, h, w) from fine to coarse; of the coarsest only the size is used.
            image: (B, h * w, C) fused tokens at the coarsest level.
            prompt: the B prompts.

        Returns:
            Pixel embeddings (B, C, H, W) for the instances' masks, and the logits (B, H, W) of a pixel to belong to
            any instance of the concept.
        """
        normed = self.cross_attn_norm(image)
        mixed = self.cross_attend_prompt(normed, prompt.tokens, prompt.tokens, bias=key_mask(prompt.valid))
        coarsest = (image + mixed).transpose(1, 2).unflatten(2, levels[-1].shape[-2:])
        pixels = self.pixel_decoder(levels[:-1], coarsest)
        return self.instance_seg_head(pixels), self.semantic_seg_head(pixels).squeeze(1)
