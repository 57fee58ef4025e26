"""Attention in blocks of queries, and memory attention that averages raw values."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.backends.cpu.linear import can_pack, pack, packed_linear
from sam_core.backends.cpu.weight_cache import WeightCache, applies_to
from sam_core.layers import DotProductAttention, RotaryAttention

# Bounds on the scores that are held at once, so that they stay in the CPU's cache: of one head, and of several.
_SCORES_OF_ONE = 2**21
_SCORES_OF_SEVERAL = 2**19


class BlockedAttention(DotProductAttention):
    """Dot-product attention in blocks of queries, where PyTorch's fused kernel for CPUs is slow or does not apply.

    It is slow in bfloat16, and does not apply where values are narrower than keys.
    """

    cache: WeightCache

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return softmax(q kᵀ / √C) v: (B, heads, N, C_v) of q (.., N, C), k (.., M, C) and v (.., M, C_v)."""
        if not applies_to(q) or (q.dtype == torch.float32 and v.shape[-1] == k.shape[-1]):
            return super().forward(q, k, v)
        return _attend_in_blocks(q, k, v)


class RawValueAttention(RotaryAttention):
    """Rotary attention that averages raw values and projects the averages.

    With attention weights p that sum to 1, Wo Σ p (Wv v + bv) + bo = (Wo Wv) Σ p v + (Wo bv + bo). In SAM 2 a memory
    token has 64 channels and a projected value 256. The product Wo Wv is computed once.
    """

    cache: WeightCache

    def forward(  # type: ignore[override]
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        rotations: Tensor,
        num_unrotated_keys: int = 0,
        key_rotations: Tensor | None = None,
    ) -> Tensor:
        """Attend as `RotaryAttention.forward` does."""
        if not applies_to(v) or v.shape[-1] > self.head_dim:
            return super().forward(q, k, v, rotations, num_unrotated_keys, key_rotations)
        q = _rotate_in_place(self.split_heads(self.q_proj(q)), rotations)
        key_rotations = rotations if key_rotations is None else key_rotations
        k = _rotate_in_place(self.split_heads(self.k_proj(k)), key_rotations, num_unrotated_keys)
        values = v[:, None].expand(-1, self.num_heads, -1, -1)
        averages = self.merge_heads(self.attend(q.expand(v.shape[0], -1, -1, -1), k, values))
        packs = can_pack(averages, self.out_proj.weight)
        sources = (self.v_proj.weight, self.v_proj.bias, self.out_proj.weight, self.out_proj.bias)
        weight, bias = self.cache.get(sources, lambda: self._value_to_output(packs), key=packs)
        return packed_linear(averages, weight, bias) if packs else F.linear(averages, weight, bias)

    def _value_to_output(self, packs: bool) -> tuple[Tensor, Tensor]:
        """Return Wo Wv of all heads side by side, (C, heads * C_v), and Wo bv + bo, (C,)."""
        out = self.out_proj.weight.double().unflatten(1, (self.num_heads, -1))  # (C, heads, head_dim)
        value = self.v_proj.weight.double().unflatten(0, (self.num_heads, -1))  # (heads, head_dim, C_v)
        weight = torch.einsum("nhc,hck->nhk", out, value).flatten(1).to(self.out_proj.weight.dtype)
        bias = self.out_proj.weight.double() @ self.v_proj.bias.double() + self.out_proj.bias.double()
        return pack(weight) if packs else weight, bias.to(self.out_proj.bias.dtype)


def _rotate_in_place(x: Tensor, rotations: Tensor, num_unrotated: int = 0) -> Tensor:
    """Do what `sam_core.layers.rotate` does by one complex multiplication, in the memory of `x`; returns `x`."""
    placed = x[..., : x.shape[-2] - num_unrotated, :]
    exact = placed.float()  # float32 is not copied
    pairs = torch.view_as_complex(exact.unflatten(-1, (-1, 2)))
    pairs.unflatten(-2, (-1, rotations.shape[0])).mul_(torch.view_as_complex(rotations))  # (..., r, N, C / 2)
    if exact.dtype != x.dtype:
        placed.copy_(exact)
    return x


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend for a block of queries at a time; the blocks of one object do not depend on the batch."""
    (batch, heads, count, _), keys = q.shape, k.shape[2]
    q, k, v = (t.flatten(0, 1) for t in (q, k, v))
    k_t = k.transpose(1, 2)
    rows = max(1, min(count, _SCORES_OF_ONE // keys))
    sets = max(1, min(batch * heads, _SCORES_OF_SEVERAL // (rows * keys)))
    buffer = q.new_empty(sets * rows * keys)
    out = q.new_empty(batch * heads, count, v.shape[-1])
    for begin in range(0, batch * heads, sets):
        some = slice(begin, begin + sets)
        for row in range(0, count, rows):
            out[some, row : row + rows] = _attend_with_buffer(q[some, row : row + rows], k_t[some], v[some], buffer)
    return out.unflatten(0, (batch, heads))


def _attend_with_buffer(q: Tensor, k_t: Tensor, v: Tensor, buffer: Tensor) -> Tensor:
    """Attend from q (S, N, C) to k_t (S, C, M), v (S, M, C_v), scores held in the buffer; returns (S, N, C_v)."""
    scores = buffer[: q.shape[0] * q.shape[1] * k_t.shape[2]].view(*q.shape[:2], -1)
    scores.baddbmm_(q, k_t, beta=0, alpha=q.shape[-1] ** -0.5)
    return torch.bmm(torch.softmax(scores, dim=-1, out=scores), v)
