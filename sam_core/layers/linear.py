"""Linear maps of channels: the layer of all networks here, with its activation, and convolutions that are such."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers.derived import Derived

Activation = Literal["none", "relu", "gelu"]
Affine = tuple[Tensor, Tensor]  # a weight (N, K) and a bias (N,)


def _can_pack() -> bool:
    """Tell whether PyTorch has oneDNN's prepacked linear layers, on an x86 CPU, where they are the faster ones."""
    ops = torch.ops.mkldnn
    has_ops = hasattr(ops, "_linear_pointwise") and hasattr(ops, "_reorder_linear_weight")
    is_x86 = torch.backends.cpu.get_cpu_capability().startswith("AVX")
    return has_ops and is_x86 and torch.backends.mkldnn.is_available()


def _least_tokens() -> dict[torch.dtype, int]:
    """Return from how many tokens on a packed weight is the faster one, for each dtype that can be packed.

    With fewer the multiplication is over before oneDNN has looked up its kernel. They are counted per item of the
    batch, so that the kernel, and with it the rounding, is the same however many objects there are.
    """
    if not _can_pack():
        return {}
    return {torch.float32: 64} | ({torch.bfloat16: 8} if torch.ops.mkldnn._is_mkldnn_bf16_supported() else {})


_LEAST_TOKENS = _least_tokens()


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


class DerivedLinear:
    """A linear map whose weight and bias follow from parameters: computed once, and packed as a `Linear`'s are."""

    def __init__(self) -> None:
        self._affine: Derived[Affine] = Derived()
        self._packed: Derived[Tensor] = Derived()

    def __call__(self, x: Tensor, sources: Sequence[Tensor], compute: Callable[[], Affine]) -> Tensor:
        """Map (..., K) to (..., N).

        Args:
            x: (..., K).
            sources: what weight and bias are computed from; see `Derived.of`.
            compute: returns (N, K) and (N,).
        """
        return linear(x, *self._affine.of(sources, compute), self._packed)


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


class DoublingConv2d(nn.ConvTranspose2d):
    """Transposed 2×2 convolution of stride 2: each place becomes four, by one linear map of its channels.

    The four stay together: (..., N, in_channels) -> (..., 4 N, out_channels), in the order upper left, upper right,
    lower left, lower right. `nest` brings a map into that order, `unnest` back.

    Args:
        in_channels: channels in.
        out_channels: channels out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=2, stride=2)
        self._linear = DerivedLinear()

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Map (B, N, in_channels) to (B, 4 N, out_channels)."""
        assert self.bias is not None
        four = self._linear(x, [self.weight, self.bias], self._as_linear)
        return four.unflatten(-1, (4, -1)).flatten(1, 2)

    def _as_linear(self) -> Affine:
        assert self.bias is not None
        return self.weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous(), self.bias.repeat(4)


def nest(x: Tensor, times: int) -> Tensor:
    """Order the places of a map (B, C, 2^times H, 2^times W) as `DoublingConv2d` does: (B, 4^times H W, C)."""
    x = x.permute(0, 2, 3, 1)
    height, width = x.shape[1] >> times, x.shape[2] >> times
    x = x.unflatten(2, (width, *[2] * times)).unflatten(1, (height, *[2] * times))  # (B, H, 2 ..., W, 2 ..., C)
    pairs = [axis for i in range(times) for axis in (2 + i, 3 + times + i)]
    return x.permute(0, 1, 2 + times, *pairs, x.ndim - 1).flatten(1, -2)


def unnest(x: Tensor, grid: tuple[int, int], times: int) -> Tensor:
    """Put (B, M, 4^times H W) back into rows and columns: (B, M, 2^times H, 2^times W)."""
    x = x.unflatten(-1, (*grid, *[2] * (2 * times)))  # (B, M, H, W, 2 2 ...)
    rows, columns = range(4, 4 + 2 * times, 2), range(5, 5 + 2 * times, 2)
    return x.permute(0, 1, 2, *rows, 3, *columns).flatten(3 + times, -1).flatten(2, 2 + times)


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, packed: Derived[Tensor], activation: Activation = "none"
) -> Tensor:
    """Apply a linear map and an activation, by oneDNN's prepacked kernel where that is faster.

    Args:
        x: (..., K); the tokens of an item of the batch are its last axes but one.
        weight: (N, K).
        bias: (N,), or None.
        packed: where the packed weight is kept.
        activation: what follows.

    Returns:
        (..., N).
    """
    least = _LEAST_TOKENS.get(x.dtype) if x.device.type == "cpu" and not torch.is_grad_enabled() else None
    many = least is not None and (x.ndim == 4 or (x.ndim == 3 and x.shape[1] >= least))
    if many and x.dtype == weight.dtype and not torch.is_autocast_enabled("cpu"):  # autocast does not see our kernel
        ops = torch.ops.mkldnn
        kept = packed.of([weight], lambda: ops._reorder_linear_weight(weight.detach()))
        return ops._linear_pointwise(x, kept, bias, activation, [], "none")
    y = F.linear(x, weight, bias)
    if activation == "relu":
        return F.relu(y)
    return F.gelu(y) if activation == "gelu" else y
