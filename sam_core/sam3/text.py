"""SAM 3's text encoder: CLIP's causal transformer, every token kept, resized to the detector's width."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sam_core.sam3.attention import PackedAttention
from sam_core.sam3.tokenizer import PADDING


@dataclass(frozen=True)
class PromptTokens:
    """Tokens of a batch of prompts.

    Attributes:
        tokens: (B, L, C).
        valid: (B, L) bool, False for padding.
    """

    tokens: Tensor
    valid: Tensor

    def __add__(self, other: PromptTokens) -> PromptTokens:
        """Put the other prompts' tokens after these."""
        tokens = torch.cat((self.tokens, other.tokens), dim=1)
        return PromptTokens(tokens, torch.cat((self.valid, other.valid), dim=1))


class ResidualBlock(nn.Module):
    """A pre-norm transformer block over (B, L, C) in which a token sees itself and those before it."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.attn = PackedAttention(width, num_heads)
        self.ln_1 = nn.LayerNorm(width)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict[str, nn.Module](c_fc=nn.Linear(width, hidden), gelu=nn.GELU(), c_proj=nn.Linear(hidden, width))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, C) to the same shape."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, causal=True)
        return x + self.mlp(self.ln_2(x))


class CausalStack(nn.Module):
    """The blocks, under the name that the checkpoints give them."""

    def __init__(self, width: int, num_heads: int, depth: int, mlp_ratio: float) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(ResidualBlock(width, num_heads, mlp_ratio) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, C) to the same shape."""
        for block in self.resblocks:
            x = block(x)
        return x


class TextTransformer(nn.Module):
    """CLIP's text transformer (Radford et al., 2021, section 2.4), returning all tokens.

    Args:
        context_length: most tokens of a phrase.
        vocabulary_size: number of token ids.
        width: channels.
        num_heads: heads.
        depth: number of blocks.
        mlp_ratio: hidden width of the MLPs over `width`.
        output_dim: width of CLIP's pooled output. The detector does not use it; its checkpoints carry the matrix.
    """

    def __init__(
        self,
        context_length: int,
        vocabulary_size: int,
        width: int,
        num_heads: int,
        depth: int,
        mlp_ratio: float,
        output_dim: int,
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, width))
        self.transformer = CausalStack(width, num_heads, depth, mlp_ratio)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, output_dim))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=width**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Encode token ids (B, L) as (B, L, width)."""
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        return self.ln_final(self.transformer(x))


class TextEncoder(nn.Module):
    """The text transformer and the linear layer from its width to the detector's.

    Args:
        encoder: the text transformer.
        width: channels of the transformer.
        channels: channels of the detector.
    """

    def __init__(self, encoder: TextTransformer, width: int, channels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.resizer = nn.Linear(width, channels)

    def forward(self, ids: Tensor) -> PromptTokens:
        """Encode token ids (B, L), padded with 0, as tokens (B, L, channels)."""
        return PromptTokens(self.resizer(self.encoder(ids)), ids != PADDING)
