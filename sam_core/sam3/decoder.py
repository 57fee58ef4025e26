"""The detection decoder: queries that find the instances of the prompt, and a token that says if there are any.

DETR (Carion et al., 2020) with boxes refined layer by layer and queries placed by their boxes (DAB-DETR, Liu et al.,
2022), a relative position bias between boxes and pixels ("Plain DETR", Lin et al., 2023, section 4.1), and a
presence token (SAM 3, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers import MLP
from sam_core.sam3.attention import PackedAttention, key_mask
from sam_core.sam3.positions import centre_to_corners, encode_coordinates, inverse_sigmoid
from sam_core.sam3.text import PromptTokens

_RANGE = 8  # distances are scaled to about ±8 before the logarithm


@dataclass(frozen=True)
class DecodedQueries:
    """What the decoder found, for B prompts and Q queries.

    Attributes:
        queries: (B, Q, C) normed features of the queries.
        boxes: (B, Q, 4) centre x, y, width, height in [0, 1], float32.
        presence: (B,) logit that the prompt's concept is in the image, float32.
    """

    queries: Tensor
    boxes: Tensor
    presence: Tensor


class DecoderLayer(nn.Module):
    """Post-norm layer: attention among the queries, to the prompt, to the image, then a feed-forward network."""

    def __init__(self, channels: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.cross_attn = PackedAttention(channels, num_heads)
        self.norm1 = nn.LayerNorm(channels)
        self.ca_text = PackedAttention(channels, num_heads)
        self.catext_norm = nn.LayerNorm(channels)
        self.self_attn = PackedAttention(channels, num_heads)
        self.norm2 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm3 = nn.LayerNorm(channels)

    def forward(
        self, x: Tensor, position: Tensor, prompt: PromptTokens, keys: Tensor, values: Tensor, bias: Tensor
    ) -> Tensor:
        """Update the presence token and the queries.

        Args:
            x: (B, 1 + Q, C), the presence token first.
            position: (B, 1 + Q, C) added to `x` wherever it asks.
            prompt: B prompts.
            keys: (B, N, C) image tokens with their positions.
            values: (B, N, C) image tokens.
            bias: (B, heads, 1 + Q, N) added to the logits of the attention to the image.
        """
        placed = x + position
        x = self.norm2(x + self.self_attn(placed, placed, x))
        x = self.catext_norm(x + self.ca_text(x + position, prompt.tokens, prompt.tokens, bias=key_mask(prompt.valid)))
        x = self.norm1(x + self.cross_attn(x + position, keys, values, bias=bias))
        return self.norm3(x + self.linear2(F.relu(self.linear1(x))))


class Decoder(nn.Module):
    """Finds instances of the prompt in the fused image.

    Args:
        channels: channels.
        num_heads: heads.
        hidden: hidden width of the feed-forward networks.
        num_layers: number of layers.
        num_queries: most instances that a prompt can find.
    """

    def __init__(self, channels: int, num_heads: int, hidden: int, num_layers: int, num_queries: int) -> None:
        super().__init__()
        self.channels = channels
        self.layers = nn.ModuleList(DecoderLayer(channels, num_heads, hidden) for _ in range(num_layers))
        self.norm = nn.LayerNorm(channels)
        self.bbox_embed = MLP(channels, channels, 4, 3)
        self.query_embed = nn.Embedding(num_queries, channels)
        self.reference_points = nn.Embedding(num_queries, 4)
        self.boxRPB_embed_x = MLP(2, channels, num_heads, 2)
        self.boxRPB_embed_y = MLP(2, channels, num_heads, 2)
        self.presence_token = nn.Embedding(1, channels)
        self.presence_token_head = MLP(channels, channels, 1, 3)
        self.presence_token_out_norm = nn.LayerNorm(channels)
        self.ref_point_head = MLP(2 * channels, channels, channels, 2)

    def position_bias(self, boxes: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return how much each box attends to each place of the image beyond what the features say.

        Args:
            boxes: (B, Q, 4) centre x, y, width, height in [0, 1].
            grid: (h, w) of the image tokens.

        Returns:
            (B, heads, Q, h * w): a function of the column's distances to left and right edge plus one of the row's
            to top and bottom, both on a logarithmic scale.
        """
        left, top, right, bottom = centre_to_corners(boxes.float()).unbind(-1)
        dtype = self.query_embed.weight.dtype

        def distances(first: Tensor, second: Tensor, size: int) -> Tensor:  # (B, Q, size, 2)
            places = torch.arange(size, dtype=torch.float32, device=boxes.device) / size
            scaled = (places[:, None] - torch.stack((first, second), dim=-1)[:, :, None]) * _RANGE
            return (scaled.sign() * torch.log2(scaled.abs() + 1) / math.log2(_RANGE)).to(dtype)

        rows = self.boxRPB_embed_y(distances(top, bottom, grid[0]))  # (B, Q, h, heads)
        columns = self.boxRPB_embed_x(distances(left, right, grid[1]))  # (B, Q, w, heads)
        return (rows[:, :, :, None] + columns[:, :, None]).flatten(2, 3).permute(0, 3, 1, 2)

    def query_position(self, boxes: Tensor) -> Tensor:
        """Return the position (B, Q, C) that boxes (B, Q, 4) give to their queries."""
        centre_x, centre_y, width, height = boxes.unbind(-1)
        encoded = encode_coordinates(torch.stack((centre_y, centre_x, width, height), dim=-1), self.channels // 2)
        return self.ref_point_head(encoded.flatten(-2).to(self.query_embed.weight.dtype))

    def refine(
        self, image: Tensor, position: Tensor, prompt: PromptTokens, grid: tuple[int, int]
    ) -> Iterator[DecodedQueries]:
        """Decode layer by layer, each starting from the boxes of the last; arguments as for `forward`.

        No gradient flows from a layer's boxes to those of the layer before ("Deformable DETR", appendix A.4).
        """
        batch = image.shape[0]
        keys = image + position
        x = torch.cat((self.presence_token.weight, self.query_embed.weight)).expand(batch, -1, -1)
        start = self.reference_points.weight.float().sigmoid().expand(batch, -1, -1)
        for layer in self.layers:
            # The presence token has no place: zeros in its row of positions and biases.
            placed = F.pad(self.query_position(start), (0, 0, 1, 0))
            bias = F.pad(self.position_bias(start, grid), (0, 0, 1, 0))
            x = layer(x, placed, prompt, keys, image, bias)
            queries = self.norm(x[:, 1:])
            boxes = (inverse_sigmoid(start) + self.bbox_embed(queries).float()).sigmoid()
            presence = self.presence_token_head(self.presence_token_out_norm(x[:, 0])).float().squeeze(-1)
            yield DecodedQueries(queries, boxes, presence)
            start = boxes.detach()

    def forward(self, image: Tensor, position: Tensor, prompt: PromptTokens, grid: tuple[int, int]) -> DecodedQueries:
        """Decode.

        Args:
            image: (B, h * w, C) fused image tokens.
            position: (1, h * w, C) their position encoding.
            prompt: the B prompts.
            grid: (h, w).

        Returns:
            What the last layer found.
        """
        *_, last = self.refine(image, position, prompt, grid)
        return last
