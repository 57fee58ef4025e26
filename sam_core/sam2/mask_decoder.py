"""Mask decoder: predicts masks, their quality and the object's presence from prompt tokens and image features.

Source: "Segment Anything" (Kirillov et al., 2023), appendix A; SAM 2 (Ravi et al., 2024), section 4 "Mask decoder"
(high-resolution skips, presence head). The stability score is SAM's (appendix B, "Stability").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sam_core.layers import MLP, LayerNorm2d
from sam_core.sam2.two_way_transformer import TwoWayTransformer


@dataclass(frozen=True)
class DecodedMasks:
    """Output of the decoder for B objects, M candidate masks each.

    Attributes:
        masks: (B, M, 4 H, 4 W) logits.
        ious: (B, M) predicted IoU of each mask, in 0 … 1.
        tokens: (B, M or 1, C) output tokens of the masks, from which object pointers are made.
        object_score: (B, 1) logit that the object is in the image.
    """

    masks: Tensor
    ious: Tensor
    tokens: Tensor
    object_score: Tensor


class MaskDecoder(nn.Module):
    """SAM 2's mask decoder.

    Args:
        dim: channels of tokens and image features.
        num_heads: heads of the transformer.
        mlp_dim: hidden width of the transformer's MLPs.
        depth: blocks of the transformer.
        num_multimask_outputs: candidate masks for an ambiguous prompt.
        iou_head_hidden_dim: hidden width of the IoU head.
        stability_fallback: where one mask is asked for and it is not stable, take the best candidate (evaluation only).
        stability_delta: offset of the two thresholds whose masks are compared.
        stability_threshold: least IoU of those two masks that counts as stable.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        mlp_dim: int = 2048,
        depth: int = 2,
        num_multimask_outputs: int = 3,
        iou_head_hidden_dim: int = 256,
        stability_fallback: bool = True,
        stability_delta: float = 0.05,
        stability_threshold: float = 0.98,
    ) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(dim, num_heads, mlp_dim, depth)
        self.num_mask_tokens = num_multimask_outputs + 1
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, dim)
        self.obj_score_token = nn.Embedding(1, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.conv_s0 = nn.Conv2d(dim, dim // 8, kernel_size=1)
        self.conv_s1 = nn.Conv2d(dim, dim // 4, kernel_size=1)
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(dim, dim, dim // 8, num_layers=3) for _ in range(self.num_mask_tokens)
        )
        self.iou_prediction_head = MLP(dim, iou_head_hidden_dim, self.num_mask_tokens, 3, sigmoid_output=True)
        self.pred_obj_score_head = MLP(dim, dim, 1, num_layers=3)
        self.stability_fallback = stability_fallback
        self.stability_delta = stability_delta
        self.stability_threshold = stability_threshold

    def forward(
        self,
        image: Tensor,
        image_position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        high_res: tuple[Tensor, Tensor],
        multimask: bool,
        alternatives: bool = False,
    ) -> DecodedMasks:
        """Decode masks.

        Args:
            image: (B, C, H, W) image features, conditioned on memory or not.
            image_position: (1, C, H, W) encoding of the grid.
            sparse: (B, N, C) embeddings of points.
            dense: (B, C, H, W) or (1, C, 1, 1) embedding of a mask prompt or of its absence.
            high_res: (1 or B, C / 8, 4 H, 4 W) and (1 or B, C / 4, 2 H, 2 W) skips, after `conv_s0` and `conv_s1`.
            multimask: return the three candidates (with their tokens) rather than one mask.
            alternatives: where one mask is asked for, return the three candidates behind it.

        Returns:
            Three masks; or one; or that one and the three.
        """
        may_fall_back = self.stability_fallback and not self.training
        wanted = slice(1, None) if multimask else slice(None if may_fall_back or alternatives else 1)
        masks, ious, tokens, object_score = self._decode(image, image_position, sparse, dense, high_res, wanted)
        if not multimask and may_fall_back:
            single, single_iou = self._stable_or_best(masks, ious)
            if alternatives:
                masks, ious = torch.cat((single, masks[:, 1:]), 1), torch.cat((single_iou, ious[:, 1:]), 1)
            else:
                masks, ious, tokens = single, single_iou, tokens[:, :1]
        return DecodedMasks(masks, ious, tokens, object_score)

    def _decode(
        self,
        image: Tensor,
        image_position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        high_res: tuple[Tensor, Tensor],
        wanted: slice,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Decode the wanted ones of the single mask and the three candidates; no filter is made for the others."""
        output_tokens = torch.cat([self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        grid = (image.shape[-2], image.shape[-1])
        tokens, image = self.transformer(image + dense, image_position, tokens)
        mask_tokens = tokens[:, 2 : 2 + self.num_mask_tokens][:, wanted]

        up1, norm, act1, up2, act2 = self.output_upscaling
        skip_4, skip_8 = high_res
        image = image.transpose(1, 2).unflatten(-1, grid)
        image = act1(norm(up1(image) + skip_8))  # (B, C / 4, 2 H, 2 W)
        image = act2(up2(image) + skip_4)  # (B, C / 8, 4 H, 4 W)

        heads = self.output_hypernetworks_mlps[wanted]
        filters = torch.stack([mlp(mask_tokens[:, i]) for i, mlp in enumerate(heads)], dim=1)  # (B, M, C / 8)
        masks = (filters @ image.flatten(2)).unflatten(-1, image.shape[-2:])
        ious = self.iou_prediction_head(tokens[:, 1])[:, wanted]
        return masks, ious, mask_tokens, self.pred_obj_score_head(tokens[:, 0])

    def _stable_or_best(self, masks: Tensor, ious: Tensor) -> tuple[Tensor, Tensor]:
        """Take the single mask where it is stable, else the candidate of the highest predicted IoU."""
        single = masks[:, :1].flatten(-2)
        inner = (single > self.stability_delta).sum(-1).float()
        outer = (single > -self.stability_delta).sum(-1).float()
        stability = torch.where(outer > 0, inner / outer, 1.0)
        is_stable = stability >= self.stability_threshold  # (B, 1)
        best = ious[:, 1:].argmax(-1, keepdim=True) + 1  # (B, 1)
        index = torch.where(is_stable, 0, best)
        rows = torch.arange(masks.shape[0], device=masks.device)[:, None]
        return masks[rows, index], ious[rows, index]
