"""Multi-head attention as SAM and SAM 2 use it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers.linear import Affine, DerivedLinear, Linear
from sam_core.layers.rotary import axial_rotary_table, rotate_

# Scores that are held at once on a CPU, so that what is written is still in the cache when it is read again: of one
# object at most so many, and of several together no more than
_SCORES_OF_ONE = 2**21
_SCORES_OF_SEVERAL = 2**19


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Average values by softmax(q kᵀ / √C), with PyTorch's fused kernel or as plain products, whichever is faster.

    On a CPU the fused kernel does not use what the CPU can do with bfloat16, and it wants values as wide as keys.

    Args:
        q: (B, heads, N, C) queries.
        k: (B, heads, M, C) keys.
        v: (B, heads, M, C_v) values.

    Returns:
        (B, heads, N, C_v).
    """
    if q.device.type != "cpu" or (q.dtype == torch.float32 and v.shape[-1] == k.shape[-1]):
        return F.scaled_dot_product_attention(q, k, v)
    if torch.is_grad_enabled():
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        return scores.softmax(-1).to(v.dtype) @ v
    return _attend_in_blocks(q, k, v)


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend for a block of queries at a time; how an object's queries are cut does not depend on the batch."""
    (batch, heads, count, _), keys = q.shape, k.shape[2]
    q, k, v = (t.flatten(0, 1) for t in (q, k, v))
    k_t = k.transpose(1, 2)
    rows = max(1, min(count, _SCORES_OF_ONE // keys))
    sets = max(1, min(batch * heads, _SCORES_OF_SEVERAL // (rows * keys)))
    buffer = q.new_empty(sets * rows * keys)
    if (sets, rows) == (batch * heads, count):
        return _averages(q, k_t, v, buffer).unflatten(0, (batch, heads))
    out = q.new_empty(batch * heads, count, v.shape[-1])
    for begin in range(0, batch * heads, sets):
        some = slice(begin, begin + sets)
        for row in range(0, count, rows):
            out[some, row : row + rows] = _averages(q[some, row : row + rows], k_t[some], v[some], buffer)
    return out.unflatten(0, (batch, heads))


def _averages(q: Tensor, k_t: Tensor, v: Tensor, buffer: Tensor) -> Tensor:
    """Attend from q (S, N, C) to k_t (S, C, M), v (S, M, C_v), the scores held in the buffer; returns (S, N, C_v)."""
    scores = buffer[: q.shape[0] * q.shape[1] * k_t.shape[2]].view(*q.shape[:2], -1)
    scores.baddbmm_(q, k_t, beta=0, alpha=q.shape[-1] ** -0.5)
    return torch.bmm(torch.softmax(scores, dim=-1, out=scores), v)


def in_each_head(inner: nn.Linear, outer: Tensor) -> tuple[Tensor, Tensor]:
    """Return a projection to heads, followed in each head by a matrix, as one map a head.

    Args:
        inner: K -> heads * C.
        outer: (heads, N, C).

    Returns:
        (heads, N, K) weight and (heads, N) bias, float64.
    """
    heads = outer.shape[0]
    weight = outer.double() @ inner.weight.double().unflatten(0, (heads, -1))
    bias = outer.double() @ inner.bias.double().unflatten(0, (heads, -1, 1))
    return weight, bias.flatten(1)


class Attention(nn.Module):
    """Attention whose inner width may be smaller than the embedding's (SAM paper, appendix A).

    Args:
        embedding_dim: channels of queries and output.
        num_heads: heads; divides the inner width.
        downsample_rate: the inner width is `embedding_dim / downsample_rate`.
        kv_in_dim: channels of keys and values; the queries' where None.
    """

    def __init__(
        self, embedding_dim: int, num_heads: int, downsample_rate: int = 1, kv_in_dim: int | None = None
    ) -> None:
        super().__init__()
        inner_dim = embedding_dim // downsample_rate
        if inner_dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide the attention width {inner_dim}.")
        kv_in_dim = embedding_dim if kv_in_dim is None else kv_in_dim
        self.num_heads = num_heads
        self.head_dim = inner_dim // num_heads
        self.q_proj = Linear(embedding_dim, inner_dim)
        self.k_proj = Linear(kv_in_dim, inner_dim)
        self.v_proj = Linear(kv_in_dim, inner_dim)
        self.out_proj = Linear(inner_dim, embedding_dim)
        self._values_to_output = DerivedLinear()

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, N, heads * C) -> (B, heads, N, C)."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, heads, N, C) -> (B, N, embedding_dim), through the output projection."""
        return self.out_proj(x.transpose(1, 2).flatten(-2))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from q (B, N, C) to k, v (B, M, C_kv); returns (B, N, C)."""
        q = self.split_heads(self.q_proj(q))
        k = self.split_heads(self.k_proj(k))
        v = self.split_heads(self.v_proj(v))
        return self.merge_heads(attend(q, k, v))

    def project_averages(self, averages: Tensor) -> Tensor:
        """Project raw values that each head has averaged, (B, N, heads * C_kv), to (B, N, embedding_dim).

        The same as averaging projected values, to rounding: with attention weights p that sum to 1,
        Wo (Σ p (Wv v + bv)) + bo = (Wo Wv) Σ p v + (Wo bv + bo). The product is computed once.
        """
        sources = [self.v_proj.weight, self.v_proj.bias, self.out_proj.weight, self.out_proj.bias]
        return self._values_to_output(averages, sources, self._multiply_values_and_output)

    def _multiply_values_and_output(self) -> Affine:
        weight, bias = in_each_head(self.v_proj, self.output_of_heads)
        bias = bias.sum(0) + self.out_proj.bias.double()
        return weight.transpose(0, 1).flatten(1).to(self.out_proj.weight.dtype), bias.to(self.out_proj.bias.dtype)

    @property
    def output_of_heads(self) -> Tensor:
        """The output projection's weight as (heads, embedding_dim, C)."""
        return self.out_proj.weight.unflatten(1, (self.num_heads, self.head_dim)).transpose(0, 1)


class RotaryAttention(Attention):
    """Attention with axial rotary position encoding on queries and on (most of) the keys."""

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        downsample_rate: int = 1,
        kv_in_dim: int | None = None,
        rope_theta: float = 10000.0,
    ) -> None:
        super().__init__(embedding_dim, num_heads, downsample_rate, kv_in_dim)
        self.rope_theta = rope_theta
        self._queries_and_keys = DerivedLinear()

    def forward(  # type: ignore[override]
        self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], num_unrotated_keys: int = 0
    ) -> Tensor:
        """Attend from the tokens of an image to themselves or to a memory.

        Args:
            q: (1 or B, H * W, C) tokens of a feature map.
            k: (B, r * H * W + P, C_kv) keys: r maps on the same grid (the table repeats), then P others.
            v: (B, r * H * W + P, C_kv) values.
            grid: (H, W) of the feature map.
            num_unrotated_keys: P, keys at the end that have no place in the image (object pointers).

        Returns:
            (B, H * W, C).
        """
        return self.attend_to(q, self.keys(k, grid, num_unrotated_keys), v, grid)

    def keys(self, k: Tensor, grid: tuple[int, int], num_unrotated: int = 0) -> Tensor:
        """Project and rotate keys as `forward` takes them; returns (B, r * H * W + P, heads * C)."""
        return self._rotated(self.k_proj(k), grid, num_unrotated)

    def keys_without_bias(self, k: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the share of a summand of the keys, (B, r * H * W, heads * C): projection and rotation are linear."""
        return self._rotated(F.linear(k, self.k_proj.weight), grid)

    def attend_to(self, q: Tensor, keys: Tensor | Iterable[Tensor], v: Tensor, grid: tuple[int, int]) -> Tensor:
        """Do what `forward` does, given what `keys` returned.

        Args:
            q: (1 or B, H * W, C).
            keys: (B, L, heads * C), or (1, L, heads * C) of one item of the batch after the other: these may share
                their memory, which then is still in the cache when it is read and when it is written anew.
            v: (B, L, C_kv).
            grid: (H, W).

        Returns:
            (B, H * W, C).
        """
        return self._attend(self._rotated(self.q_proj(q), grid), keys, v)

    def attend_to_itself(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Do what `forward(x, x, x, grid)` does, with queries and keys in one product."""
        sources = [self.q_proj.weight, self.k_proj.weight, self.q_proj.bias, self.k_proj.bias]
        both = self._queries_and_keys(x, sources, lambda: (torch.cat(sources[:2]), torch.cat(sources[2:])))
        q, k = self._rotated(both, grid).chunk(2, dim=-1)
        return self._attend(q, k, x)

    def _attend(self, q: Tensor, keys: Tensor | Iterable[Tensor], v: Tensor) -> Tensor:
        """Attend from projected and rotated queries (1 or B, H * W, heads * C)."""
        q = self.split_heads(q).expand(v.shape[0], -1, -1, -1)
        late = self._projects_values_late(v)
        values = v[:, None].expand(-1, self.num_heads, -1, -1) if late else self.split_heads(self.v_proj(v))
        if isinstance(keys, Tensor):
            averages = attend(q, self.split_heads(keys), values)
        else:
            one_by_one = zip(q.split(1), keys, values.split(1), strict=True)
            averages = torch.cat([attend(one, self.split_heads(k), value) for one, k, value in one_by_one])
        if not late:
            return self.merge_heads(averages)
        return self.project_averages(averages.transpose(1, 2).flatten(-2))

    def _rotated(self, x: Tensor, grid: tuple[int, int], but_last: int = 0) -> Tensor:
        """Rotate tokens (B, N, any number of heads * C), in place."""
        table = axial_rotary_table(self.head_dim, *grid, self.rope_theta, x.device)
        rotate_(x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2), table, but_last)
        return x

    def _projects_values_late(self, v: Tensor) -> bool:
        """Tell whether averaging raw values is no more work than averaging projected ones, and `attend` can."""
        return v.device.type == "cpu" and v.shape[-1] <= self.head_dim and not torch.is_grad_enabled()
