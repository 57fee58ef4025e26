"""Linear layers whose weights are kept in the order that oneDNN's kernels read them in."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.backends.cpu.weight_cache import WeightCache, applies_to
from sam_core.layers import MLP


def _min_tokens() -> dict[torch.dtype, int]:
    """Return from how many tokens per item of a batch a packed weight is faster, for each dtype that can be packed.

    Packing needs PyTorch's oneDNN operators and an x86 CPU.
    """
    ops = torch.ops.mkldnn
    has_ops = hasattr(ops, "_linear_pointwise") and hasattr(ops, "_reorder_linear_weight")
    is_x86 = torch.backends.cpu.get_cpu_capability().startswith("AVX")
    if not (has_ops and is_x86 and torch.backends.mkldnn.is_available()):
        return {}
    return {torch.float32: 64} | ({torch.bfloat16: 8} if ops._is_mkldnn_bf16_supported() else {})


_MIN_TOKENS = _min_tokens()
_ROWS = 8


def can_pack(x: Tensor, weight: Tensor) -> bool:
    """Tell whether a packed weight is faster for tokens `x` (B, N, K) or a map `x` (B, H, W, K).

    It depends on N, not on B, so that kernel and rounding are the same for every number of objects.
    """
    if x.dtype != weight.dtype or x.dtype not in _MIN_TOKENS or torch.is_autocast_enabled("cpu"):
        return False
    return applies_to(x) and (x.ndim == 4 or (x.ndim == 3 and x.shape[1] >= _MIN_TOKENS[x.dtype]))


def pack(weight: Tensor) -> Tensor:
    """Return a weight (N, K) in oneDNN's order."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach())


def packed_linear(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    """Map (..., K) to (..., N) by a weight of `pack`."""
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "none")


class PackedLinear(nn.Linear):
    """`torch.nn.Linear` with a packed weight."""

    cache: WeightCache

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        if not can_pack(x, self.weight):
            return super().forward(x.contiguous() if applies_to(x) else x)  # rounding may depend on the layout
        return packed_linear(x, self.cache.get([self.weight], lambda: pack(self.weight)), self.bias)


class PaddedMLP(MLP):
    """MLP that pads the rows of a matrix to a multiple of eight, so that a row's numbers do not depend on the others.

    Products of a few rows are computed by other kernels, which round differently.
    """

    cache: WeightCache

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., input_dim) to (..., output_dim)."""
        if x.ndim != 2 or not applies_to(x):
            return super().forward(x)
        padded = F.pad(x, (0, 0, 0, -x.shape[0] % _ROWS)).unflatten(0, (-1, _ROWS))
        return super().forward(padded).flatten(0, 1)[: x.shape[0]]
