"""Linear maps of channels: the layer of all networks here, with its activation, and the 1×1 convolution."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers.derived import Derived

Activation = Literal["none", "relu", "gelu"]

# Below this, a multiplication is over before oneDNN has looked up its kernel. Counted in weights, not in rows, so that
# the kernel, and with it the rounding, is the same however many objects are in the batch.
_LEAST_PACKED_WEIGHTS = 20_000


def _can_pack() -> bool:
    """Tell whether PyTorch has oneDNN's prepacked linear layers, on an x86 CPU, where they are the faster ones."""
    ops = torch.ops.mkldnn
    has_ops = hasattr(ops, "_linear_pointwise") and hasattr(ops, "_reorder_linear_weight")
    return has_ops and torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability().startswith("AVX")


_PACKABLE = {
    torch.float32: _can_pack(),
    torch.bfloat16: _can_pack() and torch.ops.mkldnn._is_mkldnn_bf16_supported(),
}


class Linear(nn.Linear):
    """`torch.nn.Linear`, and an activation that oneDNN computes while the product is still in registers.

    On an x86 CPU, without gradients, the weight is kept a second time in the order that oneDNN's kernels read it in.
    The numbers are those of `F.linear` to rounding.

    Args:
        in_features: channels in.
        out_features: channels out.
        activation: what follows the linear map.
    """

    def __init__(self, in_features: int, out_features: int, activation: Activation = "none") -> None:
        super().__init__(in_features, out_features)
        self.activation = activation
        self._packed: Derived[Tensor] = Derived()

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        return linear(x, self.weight, self.bias, self._packed, self.activation)


class PointwiseConv2d(nn.Conv2d):
    """1×1 convolution, computed as the linear map of channels that it is; its result lies channels last.

    Args:
        in_channels: channels in.
        out_channels: channels out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1)
        self._packed: Derived[Tensor] = Derived()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        return linear(x.permute(0, 2, 3, 1), self.matrix, self.bias, self._packed).permute(0, 3, 1, 2)

    @property
    def matrix(self) -> Tensor:
        """The weight as (out_channels, in_channels)."""
        return self.weight[:, :, 0, 0]


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, packed: Derived[Tensor], activation: Activation = "none"
) -> Tensor:
    """Apply a linear map and an activation, by oneDNN's prepacked kernel where that is faster.

    Args:
        x: (..., K).
        weight: (N, K).
        bias: (N,), or None.
        packed: where the packed weight is kept.
        activation: what follows.

    Returns:
        (..., N).
    """
    worthwhile = x.device.type == "cpu" and weight.numel() >= _LEAST_PACKED_WEIGHTS and not torch.is_grad_enabled()
    if worthwhile and x.dtype == weight.dtype and _PACKABLE.get(x.dtype, False):
        ops = torch.ops.mkldnn
        kept = packed.of([weight], lambda: ops._reorder_linear_weight(weight.detach()))
        return ops._linear_pointwise(x, kept, bias, activation, [], "none")
    y = F.linear(x, weight, bias)
    if activation == "relu":
        return F.relu(y)
    return F.gelu(y) if activation == "gelu" else y
