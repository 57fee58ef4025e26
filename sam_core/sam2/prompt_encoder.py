"""Prompt encoder: embeddings of points, boxes (as two labelled points) and masks.

Source: "Segment Anything" (Kirillov et al., 2023), section 3 and appendix A.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam_core.layers import FourierPositionEncoding, LayerNorm2d

# Labels of a point: padding, negative click, positive click, a box's upper left and lower right corner.
PADDING, NEGATIVE, POSITIVE, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = -1, 0, 1, 2, 3


class PromptEncoder(nn.Module):
    """Encode prompts for the mask decoder.

    Args:
        embed_dim: channels of the embeddings.
        image_size: side of the model's square input in px.
        stride: image size over feature size.
        mask_channels: channels inside the mask branch.
    """

    def __init__(self, embed_dim: int, image_size: int, stride: int = 16, mask_channels: int = 16) -> None:
        super().__init__()
        self.image_size = image_size
        self.grid_size = image_size // stride
        self.pe_layer = FourierPositionEncoding(embed_dim)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, embed_dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def dense_position(self) -> Tensor:
        """Return the encoding of the feature grid, (1, C, H, W), in the weights' dtype."""
        return self.pe_layer.grid(self.grid_size, self.grid_size).to(self.no_mask_embed.weight.dtype)

    def no_points(self, count: int) -> Tensor:
        """Return the (count, 2, C) embeddings of objects without a prompt: two padding points each."""
        return self.not_a_point_embed.weight.expand(count, 2, -1)

    def embed_points(self, points: Tensor, labels: Tensor, *, pad: bool = True) -> Tensor:
        """Embed points and one padding point.

        Args:
            points: (B, K, 2) xy in px of the model's input; pixel centres lie at + 0.5.
            labels: (B, K) integer labels (see the constants of this module).
            pad: whether there is the padding point; SAM 1 has none beside a box.

        Returns:
            (B, K + 1, C), or (B, K, C) without the padding point.
        """
        points = points.float() + 0.5
        if pad:
            points = torch.cat((points, points.new_zeros(points.shape[0], 1, 2)), dim=1)
            labels = torch.cat((labels, labels.new_full((labels.shape[0], 1), PADDING)), dim=1)
        position = self.pe_layer(points / self.image_size)
        kinds = torch.cat([self.not_a_point_embed.weight, *self.point_embeddings.parameters()])  # (5, C)
        is_point = (labels != PADDING)[..., None]
        return torch.where(is_point, position, 0.0).to(kinds.dtype) + kinds[labels.long() + 1]

    def embed_mask(self, mask: Tensor | None) -> Tensor:
        """Embed mask logits (B, 1, 4 H, 4 W) as (B, C, H, W), or their absence as (1, C, 1, 1)."""
        absent = self.no_mask_embed.weight
        return absent[:, :, None, None] if mask is None else self.mask_downscaling(mask.to(absent.dtype))

    def forward(self, points: Tensor, labels: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embed the prompts of B objects; see `embed_points` and `embed_mask`."""
        return self.embed_points(points, labels), self.embed_mask(mask)
