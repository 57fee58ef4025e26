"""SAM 1's mask decoder: prompt tokens and image features to masks and their quality.

Source: "Segment Anything" (Kirillov et al., 2023), appendix A "Lightweight mask decoder". SAM 2's decoder adds skips
of the image encoder, a presence head and the choice of a stable mask.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam_core.layers import MLP, LayerNorm2d
from sam_core.sam2.two_way_transformer import TwoWayTransformer


class MaskDecoder(nn.Module):
    """Decode one mask or three candidates for each prompt.

    Args:
        dim: channels of tokens and image features.
        num_heads: heads of the transformer.
        mlp_dim: hidden width of the transformer's MLPs.
        depth: blocks of the transformer.
        num_multimask_outputs: candidate masks for an ambiguous prompt.
        iou_head_hidden_dim: hidden width of the IoU head.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_dim: int,
        depth: int,
        num_multimask_outputs: int,
        iou_head_hidden_dim: int,
    ) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(dim, num_heads, mlp_dim, depth)
        self.num_mask_tokens = num_multimask_outputs + 1
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(dim, dim, dim // 8, num_layers=3) for _ in range(self.num_mask_tokens)
        )
        self.iou_prediction_head = MLP(dim, iou_head_hidden_dim, self.num_mask_tokens, num_layers=3)

    def forward(
        self, image: Tensor, image_position: Tensor, sparse: Tensor, dense: Tensor, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Decode masks.

        Args:
            image: (1 or B, C, H, W) image features.
            image_position: (1, C, H, W) encoding of the grid.
            sparse: (B, N, C) embeddings of points.
            dense: (B, C, H, W) or (1, C, 1, 1) embedding of a mask prompt or of its absence.
            multimask: return the three candidates rather than one mask.

        Returns:
            (B, M, 4 H, 4 W) logits, and the predicted IoU (B, M) of each mask; it is not bounded to 0 … 1.
        """
        count, grid = sparse.shape[0], image.shape[-2:]
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(count, -1, -1), sparse], dim=1)
        tokens, attended = self.transformer((image + dense).expand(count, -1, -1, -1), image_position, tokens)
        upscaled = self.output_upscaling(attended.transpose(1, 2).unflatten(-1, grid))  # (B, C / 8, 4 H, 4 W)
        wanted = slice(1, None) if multimask else slice(0, 1)
        mask_tokens = tokens[:, 1 : 1 + self.num_mask_tokens][:, wanted]
        heads = self.output_hypernetworks_mlps[wanted]
        filters = torch.stack([mlp(mask_tokens[:, i]) for i, mlp in enumerate(heads)], dim=1)  # (B, M, C / 8)
        masks = (filters @ upscaled.flatten(2)).unflatten(-1, upscaled.shape[-2:])
        return masks, self.iou_prediction_head(tokens[:, 0])[:, wanted]
