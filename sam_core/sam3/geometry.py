"""The geometry encoder: exemplar points and boxes of an image as prompt tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.sam3.fusion import FusionLayer
from sam_core.sam3.positions import centre_to_corners, encode_coordinates
from sam_core.sam3.roi_align import roi_align
from sam_core.sam3.text import PromptTokens


@dataclass(frozen=True)
class GeometryPrompts:
    """Exemplars of a batch of B prompts on one image, padded to the same number.

    Attributes:
        points: (B, P, 2) xy in [0, 1].
        point_labels: (B, P) int64, 1 positive, 0 negative.
        points_valid: (B, P) bool, False for padding.
        boxes: (B, K, 4) centre x, y, width, height in [0, 1].
        box_labels: (B, K) int64, 1 positive, 0 negative.
        boxes_valid: (B, K) bool, False for padding.
    """

    points: Tensor
    point_labels: Tensor
    points_valid: Tensor
    boxes: Tensor
    box_labels: Tensor
    boxes_valid: Tensor

    @staticmethod
    def none(batch: int, device: torch.device) -> GeometryPrompts:
        """Return prompts without a single exemplar."""
        empty = torch.zeros(batch, 0, 4, dtype=torch.float32, device=device)
        labels = torch.zeros(batch, 0, dtype=torch.long, device=device)
        return GeometryPrompts(empty[..., :2], labels, labels.bool(), empty, labels, labels.bool())


class GeometryEncoder(nn.Module):
    """Encodes each exemplar by where it is, by what the image shows there, and by its label.

    A last token, CLS, is always there: without exemplars it is the only one.

    Args:
        channels: channels of image features and tokens.
        num_heads: heads of the layers.
        hidden: hidden width of the layers' feed-forward networks.
        num_layers: number of layers.
        roi_size: cells along each side of the pooled box features.
    """

    def __init__(self, channels: int, num_heads: int, hidden: int, num_layers: int, roi_size: int = 7) -> None:
        super().__init__()
        self.channels = channels
        self.roi_size = roi_size
        self.label_embed = nn.Embedding(2, channels)
        self.cls_embed = nn.Embedding(1, channels)
        self.points_direct_project = nn.Linear(2, channels)
        self.points_pool_project = nn.Linear(channels, channels)
        self.points_pos_enc_project = nn.Linear(channels, channels)
        self.boxes_direct_project = nn.Linear(4, channels)
        self.boxes_pool_project = nn.Conv2d(channels, channels, roi_size)
        self.boxes_pos_enc_project = nn.Linear(channels + 2, channels)
        self.final_proj = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.img_pre_norm = nn.LayerNorm(channels)
        self.encode = nn.ModuleList(FusionLayer(channels, num_heads, hidden) for _ in range(num_layers))
        self.encode_norm = nn.LayerNorm(channels)

    def embed_points(self, points: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """Embed points (B, P, 2) with labels (B, P) on features (B, C, h, w) as (B, P, C)."""
        sampled = F.grid_sample(features.float(), 2 * points.float()[:, :, None] - 1, align_corners=False)
        pooled = sampled[..., 0].transpose(1, 2).to(features.dtype)
        # x before y here, y before x for boxes: that is how the weights were trained.
        encoded = encode_coordinates(points, self.channels // 2).flatten(-2).to(features.dtype)
        return (
            self.points_direct_project(points.to(features.dtype))
            + self.points_pool_project(pooled)
            + self.points_pos_enc_project(encoded)
            + self.label_embed(labels)
        )

    def embed_boxes(self, boxes: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """Embed boxes (B, K, 4) with labels (B, K) on features (B, C, h, w) as (B, K, C)."""
        height, width = features.shape[-2:]
        corners = centre_to_corners(boxes.float()) * boxes.new_tensor([width, height, width, height])
        cells = roi_align(features, corners, self.roi_size)  # (B, K, C, roi, roi)
        pooled = self.boxes_pool_project(cells.flatten(0, 1)).reshape(*boxes.shape[:2], self.channels)
        centre_x, centre_y, box_width, box_height = boxes.float().unbind(-1)
        encoded = torch.cat(
            (
                encode_coordinates(centre_y, self.channels // 2),
                encode_coordinates(centre_x, self.channels // 2),
                box_height[..., None],
                box_width[..., None],
            ),
            dim=-1,
        )
        return (
            self.boxes_direct_project(boxes.to(features.dtype))
            + pooled
            + self.boxes_pos_enc_project(encoded.to(features.dtype))
            + self.label_embed(labels)
        )

    def forward(self, prompts: GeometryPrompts, features: Tensor, position: Tensor) -> PromptTokens:
        """Encode exemplars.

        Args:
            prompts: exemplars of B prompts.
            features: (1, C, h, w) coarsest level of the one image they are on.
            position: (1, C, h, w) its position encoding.

        Returns:
            (B, P + K + 1, C) tokens: points, boxes, CLS.
        """
        batch = prompts.boxes.shape[0]
        normed = self.img_pre_norm(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).expand(batch, -1, -1, -1)
        parts = [self.cls_embed.weight.expand(batch, 1, -1)]
        valid = [torch.ones(batch, 1, dtype=torch.bool, device=features.device)]
        if prompts.boxes.shape[1]:
            parts.insert(0, self.embed_boxes(prompts.boxes, prompts.box_labels, normed))
            valid.insert(0, prompts.boxes_valid)
        if prompts.points.shape[1]:
            parts.insert(0, self.embed_points(prompts.points, prompts.point_labels, normed))
            valid.insert(0, prompts.points_valid)
        tokens = self.norm(self.final_proj(torch.cat(parts, dim=1)))
        counted = torch.cat(valid, dim=1)
        image = features.flatten(2).transpose(1, 2).expand(batch, -1, -1)
        image_position = position.flatten(2).transpose(1, 2)
        for layer in self.encode:
            tokens = layer(tokens, image, x_valid=counted, memory_position=image_position)
        return PromptTokens(self.encode_norm(tokens), counted)
