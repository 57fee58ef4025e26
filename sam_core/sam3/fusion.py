"""Pre-norm layers that let one sequence look at another, and the encoder that fuses an image with a prompt."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.sam3.attention import PackedAttention, key_mask
from sam_core.sam3.text import PromptTokens


class FusionLayer(nn.Module):
    """Self-attention, cross-attention to a second sequence, and a feed-forward network, each after its norm.

    Args:
        channels: channels of both sequences.
        num_heads: heads of both attentions.
        hidden: hidden width of the feed-forward network.
    """

    def __init__(self, channels: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = PackedAttention(channels, num_heads)
        # The checkpoints' name; what it looks at is the image in one use and the prompt in the other.
        self.cross_attn_image = PackedAttention(channels, num_heads)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        x_position: Tensor | None = None,
        x_valid: Tensor | None = None,
        memory_position: Tensor | None = None,
        memory_valid: Tensor | None = None,
    ) -> Tensor:
        """Update `x` from itself and from `memory`.

        Args:
            x: (B, N, C), or (A, N, C) while each B / A neighbours of the batch still have the same.
            memory: (B, M, C).
            x_position: added to queries and keys of the self-attention, broadcastable to `x`.
            x_valid: (B, N) bool, which tokens of `x` count.
            memory_position: added to the keys of the cross-attention, broadcastable to `memory`.
            memory_valid: (B, M) bool, which tokens of `memory` count.

        Returns:
            (B, N, C).
        """
        normed = self.norm1(x)
        placed = normed if x_position is None else normed + x_position
        x = x + self.self_attn(placed, placed, normed, bias=key_mask(x_valid))
        if len(x) < len(memory):
            x = x.repeat_interleave(len(memory) // len(x), dim=0)
        keys = memory if memory_position is None else memory + memory_position
        x = x + self.cross_attn_image(self.norm2(x), keys, memory, bias=key_mask(memory_valid))
        return x + self.linear2(F.relu(self.linear1(self.norm3(x))))


class FusionEncoder(nn.Module):
    """Tells the image tokens about the prompt.

    Args:
        channels: channels of image and prompt tokens.
        num_heads: heads.
        hidden: hidden width of the feed-forward networks.
        num_layers: number of layers.
    """

    def __init__(self, channels: int, num_heads: int, hidden: int, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FusionLayer(channels, num_heads, hidden) for _ in range(num_layers))

    def forward(self, image: Tensor, position: Tensor, prompt: PromptTokens) -> Tensor:
        """Condition an image on prompts.

        Args:
            image: (A, N, C) tokens; each of the A images is what B / A neighbouring prompts are about.
            position: (1, N, C) position encoding of the image tokens.
            prompt: B prompts.

        Returns:
            (B, N, C).
        """
        for layer in self.layers:
            image = layer(image, prompt.tokens, x_position=position, memory_valid=prompt.valid)
        return image
