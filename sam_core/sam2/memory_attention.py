"""Memory attention: the current frame's features look at themselves, then at what is remembered.

Source: SAM 2 (Ravi et al., 2024), section 4 "Memory attention" and appendix D.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from sam_core.layers import Affine, Derived, DerivedLinear, Linear, RotaryAttention
from sam_core.sam2.features import LayerKeys, MemoryTokens

# Share of the sine position encoding that is added to the features before the first layer.
_INPUT_POSITION_WEIGHT = 0.1


class MemoryAttentionLayer(nn.Module):
    """Pre-norm self-attention, cross-attention to the memory, and feed-forward network."""

    def __init__(self, d_model: int, memory_dim: int, num_heads: int, feedforward_dim: int, rope_theta: float) -> None:
        super().__init__()
        self.self_attn = RotaryAttention(d_model, num_heads, rope_theta=rope_theta)
        self.cross_attn_image = RotaryAttention(d_model, num_heads, kv_in_dim=memory_dim, rope_theta=rope_theta)
        self.linear1 = Linear(d_model, feedforward_dim, "relu")
        self.linear2 = Linear(feedforward_dim, d_model)
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.norm3 = nn.LayerNorm(d_model)

    def attend_to_self(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """First half of the layer; it does not see the memory, so it is the same for every object of a frame."""
        return x + self.self_attn.attend_to_itself(self.norm1(x), grid)

    def attend_to_memory(
        self, x: Tensor, keys: Tensor | Iterable[Tensor], values: Tensor, grid: tuple[int, int]
    ) -> Tensor:
        """Second half of the layer: cross-attention and feed-forward network.

        Args:
            x: (1 or B, H * W, C); what is asked is the same for every object as long as `x` is.
            keys: as `RotaryAttention.attend_to` takes them.
            values: (B, L, C_mem).
            grid: (H, W).

        Returns:
            (B, H * W, C).
        """
        x = x + self.cross_attn_image.attend_to(self.norm2(x), keys, values, grid)
        return x + self.linear2(self.linear1(self.norm3(x)))


class MemoryAttention(nn.Module):
    """Stack of memory attention layers.

    Args:
        d_model: channels of the image features.
        memory_dim: channels of a memory token.
        num_layers: layers.
        num_heads: heads of both attentions.
        feedforward_dim: hidden width of the feed-forward networks.
        rope_theta: base of the rotary frequencies.
    """

    def __init__(
        self,
        d_model: int,
        memory_dim: int,
        num_layers: int = 4,
        num_heads: int = 1,
        feedforward_dim: int = 2048,
        rope_theta: float = 10000.0,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(d_model, memory_dim, num_heads, feedforward_dim, rope_theta) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self._times: Derived[list[LayerKeys]] = Derived()
        self._stacked = DerivedLinear()

    def forward(self, features: Tensor, position: Tensor, memory: MemoryTokens) -> Tensor:
        """Condition image features on memories.

        Args:
            features: (1 or B, C, H, W); one map serves all B objects, and is one until they look at memory.
            position: (1, C, H, W) sine encoding of the grid.
            memory: of B objects; its tokens are maps on the same grid, then pointers, which are not rotated.

        Returns:
            (B, C, H, W).
        """
        grid = (features.shape[-2], features.shape[-1])
        x = features.add(position, alpha=_INPUT_POSITION_WEIGHT).flatten(2).transpose(1, 2)  # (B, HW, C)
        for layer, keys in zip(self._layers(), self._keys(memory, grid), strict=True):
            x = layer.attend_to_memory(layer.attend_to_self(x, grid), keys, memory.tokens, grid)
        return self.norm(x).transpose(1, 2).unflatten(-1, grid)

    def _layers(self) -> list[MemoryAttentionLayer]:
        return cast("list[MemoryAttentionLayer]", list(self.layers))

    def _attentions(self) -> list[RotaryAttention]:
        return [layer.cross_attn_image for layer in self._layers()]

    def _keys(self, memory: MemoryTokens, grid: tuple[int, int]) -> Iterator[Tensor | Iterator[Tensor]]:
        """Give the keys of one layer after the other, as `RotaryAttention.attend_to` takes them."""
        placed = memory.tokens[:, memory.tokens.shape[1] - memory.position.shape[1] :] + memory.position
        if memory.map_keys is None:
            yield from (a.keys(placed, grid, memory.num_pointer_tokens) for a in self._attentions())
        else:
            for index, of_pointers in enumerate(self._keys_of_pointers(placed)):
                of_maps = [[(seen[index], time[index]) for seen, time in of_object] for of_object in memory.map_keys]
                yield _added_up(of_maps, of_pointers)

    # --- keys of maps in two parts: they are linear in what was seen where, and in when ---------------------------

    @property
    def key_dim(self) -> int:
        """C, channels of a key."""
        attention = self._attentions()[0]
        return attention.num_heads * attention.head_dim

    def keys_of_maps(self, placed: Tensor, grid: tuple[int, int]) -> Tensor:
        """Project maps (B, H * W, C_mem), their place added, for all layers: (B, layers, H * W, C)."""
        return torch.stack([attention.keys(placed, grid) for attention in self._attentions()], dim=1)

    def _keys_of_pointers(self, placed: Tensor) -> tuple[Tensor, ...]:
        """Project pointers (B, P, C_mem), their age added, for all layers: (B, P, C) for each.

        Each object's are projected apart: a few rows are rounded otherwise in a larger batch.
        """
        projections = [attention.k_proj for attention in self._attentions()]
        weights: list[Tensor] = [p.weight for p in projections]
        biases: list[Tensor] = [p.bias for p in projections]
        sources = [*weights, *biases]

        def stack() -> Affine:
            return torch.cat(weights), torch.cat(biases)

        keys = torch.cat([self._stacked(of_object, sources, stack) for of_object in placed.split(1)])
        return keys.chunk(len(projections), dim=-1)

    def keys_of_times(self, times: Tensor, grid: tuple[int, int]) -> list[LayerKeys]:
        """Return what encodings of time (T, C_mem) add to the keys of maps, for each of the T; computed once."""

        def compute() -> list[LayerKeys]:
            everywhere = times[:, None].expand(-1, grid[0] * grid[1], -1)
            return list(zip(*(a.keys_without_bias(everywhere, grid) for a in attentions), strict=True))

        attentions = self._attentions()
        return self._times.of([times, *(a.k_proj.weight for a in attentions)], compute, key=grid)


def _added_up(map_keys: list[list[tuple[Tensor, Tensor]]], pointer_keys: Tensor) -> Iterator[Tensor]:
    """Give a layer's keys (1, L, C) of one object after the other: those of its maps, then of its pointers (B, P, C).

    What makes a map's keys are two summands (H * W, C): what was seen, and when.
    """
    keys: Tensor | None = None
    for of_object, last in zip(map_keys, pointer_keys, strict=True):
        sizes = [*(seen.shape[0] for seen, _ in of_object), last.shape[0]]
        keys = last.new_empty(1, sum(sizes), last.shape[1]) if keys is None else keys
        *parts, end = keys[0].split(sizes)
        for part, (seen, time) in zip(parts, of_object, strict=True):
            torch.add(seen, time, out=part)
        end.copy_(last)
        yield keys
