"""Initial weights that shorten the first plateau of a small model's training.

Attention begins as a similarity kernel: queries and keys have the same projection, so that a prompt attends to its own
position and a frame to similar features of the memories. A checkpoint replaces these weights.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import nn

from sam_core.layers import Attention
from sam_core.sam2.memory_attention import MemoryAttentionLayer
from sam_core.sam2.memory_encoder import FuserBlock
from sam_core.sam2.model import Sam2
from sam_core.sam2.two_way_transformer import TwoWayBlock

__all__ = ["initialise"]


def _tie(attention: Attention, gain: float) -> None:
    """Make queries and keys of an attention the same projection, ``gain`` times as large as usual."""
    weight = attention.q_proj.weight
    nn.init.orthogonal_(weight)
    weight *= gain
    attention.k_proj.weight.copy_(weight)
    attention.q_proj.bias.zero_()
    attention.k_proj.bias.zero_()


def _identity(conv: nn.Conv2d) -> None:
    """Make a 1x1 convolution pass its input through (its first channels where it narrows)."""
    nn.init.dirac_(conv.weight)
    if conv.bias is not None:
        conv.bias.zero_()


@torch.no_grad()
def initialise(model: Sam2, gain: float = 2.0) -> None:
    """Initialise a model for training from scratch, in place.

    Args:
        model: the model; its random weights are replaced where that helps.
        gain: size of the tied projections.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=min(0.08, 1 / math.sqrt(module.in_features)))
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Conv2d) and "patch_embed" not in name:
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                module.bias.zero_()
    decoder = model.sam_mask_decoder
    for block in cast("list[TwoWayBlock]", decoder.transformer.layers):
        _tie(block.cross_attn_token_to_image, gain)
        _tie(block.cross_attn_image_to_token, gain)
    _tie(decoder.transformer.final_attn_token_to_image, gain)
    points = cast("list[nn.Embedding]", model.sam_prompt_encoder.point_embeddings)
    for embedding in (*points, model.sam_prompt_encoder.not_a_point_embed):
        nn.init.normal_(embedding.weight, std=0.25)
    for embedding in (decoder.iou_token, decoder.mask_tokens, decoder.obj_score_token):
        nn.init.normal_(embedding.weight, std=0.5)
    nn.init.normal_(model.sam_prompt_encoder.no_mask_embed.weight, std=0.02)
    cast(nn.Linear, decoder.pred_obj_score_head.layers[-1]).bias.fill_(1.0)

    # A memory starts as the frame's features (their first channels) plus an embedding of the mask, and memory
    # attention compares a frame with it in those channels.
    encoder = model.memory_encoder
    _identity(encoder.pix_feat_proj)
    nn.init.orthogonal_(encoder.out_proj.weight.flatten(1))
    basis = encoder.out_proj.weight.flatten(1).clone()  # (c, d)
    for fuser in cast("list[FuserBlock]", encoder.fuser.layers):
        fuser.gamma.fill_(0.1)
    for layer in cast("list[MemoryAttentionLayer]", model.memory_attention.layers):
        _tie(layer.self_attn, gain / 2)
        cross = layer.cross_attn_image
        mix = torch.empty(cross.q_proj.weight.shape[0], basis.shape[0])
        nn.init.orthogonal_(mix)
        cross.k_proj.weight.copy_(gain * mix)
        cross.q_proj.weight.copy_(gain * mix @ basis)
        cross.q_proj.bias.zero_()
        cross.k_proj.bias.zero_()
