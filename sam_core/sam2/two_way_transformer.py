"""Two-way transformer: cross-attention between prompt tokens and image, in both directions.

Source: "Segment Anything" (Kirillov et al., 2023), appendix A, "Lightweight mask decoder".
"""

from __future__ import annotations

from torch import Tensor, nn

from sam_core.layers import MLP, Attention


class TwoWayBlock(nn.Module):
    """Token self-attention, token-to-image attention, MLP on tokens, image-to-token attention; post-norm.

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
        self.cross_attn_token_to_image = Attention(dim, num_heads, downsample_rate=2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dim, num_layers=2)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = Attention(dim, num_heads, downsample_rate=2)

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
    """Blocks of two-way attention, then a last token-to-image attention.

    Args:
        dim: channels.
        num_heads: heads of every attention.
        mlp_dim: hidden width of the blocks' MLPs.
        depth: blocks.
    """

    def __init__(self, dim: int, num_heads: int = 8, mlp_dim: int = 2048, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(dim, num_heads, mlp_dim, is_first=i == 0) for i in range(depth))
        self.final_attn_token_to_image = Attention(dim, num_heads, downsample_rate=2)
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
