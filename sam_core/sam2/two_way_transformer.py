"""Two-way transformer: tokens look at the image, the image looks at tokens.

Source: "Segment Anything" (Kirillov et al., 2023), appendix A, "Lightweight mask decoder".

Tokens are few (T, about 8) and places of the image many (N), so neither attention projects the image. A projection
of the image that meets a projected token can be moved onto the token, which is exact but for rounding:
(Wq x + bq) · k = x · (Wqᵀ k) + bq · k, and Σ p (Wv x + bv) = Wv Σ p x + bv for weights p that sum to 1. With H heads
this costs H T products per place and channel where projecting costs half the channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam_core.layers import MLP, Attention


class TokenToImageAttention(Attention):
    """Tokens ask, the image answers."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from tokens q (B, T, C) to the image k, v (B, N, C); returns (B, T, C)."""
        if torch.is_grad_enabled():  # the plain way gives the keys' bias a gradient too, of zero
            return super().forward(q, k, v)
        heads = (self.num_heads, self.head_dim)
        asked = self.split_heads(self.q_proj(q)) * self.head_dim**-0.5
        # The keys' bias adds the same to all scores of a token, which softmax does not see.
        asked = torch.einsum("bhtc,hci->bhti", asked, self.k_proj.weight.unflatten(0, heads))
        scores = asked.flatten(1, 2) @ k.transpose(1, 2)  # (B, H T, N)
        answers = (scores.softmax(-1) @ v).unflatten(1, (self.num_heads, -1))
        answers = torch.einsum("bhti,hci->bthc", answers, self.v_proj.weight.unflatten(0, heads)).flatten(2)
        return self.out_proj(answers + self.v_proj.bias)


class ImageToTokenAttention(Attention):
    """The image asks, tokens answer."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from the image q (B, N, C) to tokens k, v (B, T, C); returns (B, N, C)."""
        heads = (self.num_heads, self.head_dim)
        k = self.split_heads(self.k_proj(k)) * self.head_dim**-0.5
        v = self.split_heads(self.v_proj(v))
        asked = torch.einsum("bhtc,hci->bthi", k, self.q_proj.weight.unflatten(0, heads))
        offset = torch.einsum("bhtc,hc->bth", k, self.q_proj.bias.unflatten(0, heads))
        scores = asked.flatten(1, 2) @ q.transpose(1, 2)  # (B, T H, N): the softmax over T runs along N
        shares = (scores.unflatten(1, (-1, self.num_heads)) + offset[..., None]).softmax(1).flatten(1, 2)
        answers = torch.einsum("bhtc,ohc->btho", v, self.out_proj.weight.unflatten(1, heads)).flatten(1, 2)
        return torch.baddbmm(self.out_proj.bias, shares.transpose(1, 2), answers)


class TwoWayBlock(nn.Module):
    """Token self-attention, tokens to image, MLP on tokens, image to tokens; post-norm.

    Args:
        dim: channels.
        num_heads: heads of every attention.
        mlp_dim: hidden width of the MLP.
        is_first: the first block's self-attention replaces the tokens and adds no position to them.
    """

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        self.self_attn = Attention(dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = TokenToImageAttention(dim, num_heads, downsample_rate=2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dim, num_layers=2)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = ImageToTokenAttention(dim, num_heads, downsample_rate=2)

    def forward(
        self, tokens: Tensor, image: Tensor, token_position: Tensor, image_position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update tokens (B, N, C) and image (B, HW, C), given their position encodings."""
        if self.is_first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_position
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        keys = image + image_position
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_position, keys, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(keys, tokens + token_position, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Blocks of two-way attention and a last look of the tokens at the image.

    Args:
        dim: channels.
        num_heads: heads of every attention.
        mlp_dim: hidden width of the blocks' MLPs.
        depth: blocks.
    """

    def __init__(self, dim: int, num_heads: int = 8, mlp_dim: int = 2048, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(dim, num_heads, mlp_dim, is_first=i == 0) for i in range(depth))
        self.final_attn_token_to_image = TokenToImageAttention(dim, num_heads, downsample_rate=2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, image: Tensor, image_position: Tensor, prompt_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Run the transformer.

        Args:
            image: (B, C, H, W) image embedding.
            image_position: (1, C, H, W) its position encoding.
            prompt_tokens: (B, N, C) output and prompt tokens; they are also their own position encoding.

        Returns:
            Tokens (B, N, C) and image (B, H * W, C).
        """
        image = image.flatten(2).transpose(1, 2)
        image_position = image_position.flatten(2).transpose(1, 2)
        tokens = prompt_tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, prompt_tokens, image_position)
        attended = self.final_attn_token_to_image(tokens + prompt_tokens, image + image_position, image)
        return self.norm_final_attn(tokens + attended), image
