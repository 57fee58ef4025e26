"""The multi-layer perceptron of SAM's heads."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers.linear import Activation, Linear

# Matrix products of a few rows are computed by other kernels than those of many, which round differently. With whole
# eights of rows an object's vector does not depend on how many other objects there are.
_ROWS = 8


class MLP(nn.Module):
    """Linear layers with an activation between them, optionally closed by a sigmoid.

    Args:
        input_dim: channels in.
        hidden_dim: channels of every layer but the last.
        output_dim: channels out.
        num_layers: number of linear layers, at least 1.
        activation: between layers.
        sigmoid_output: squash the output to (0, 1).
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        output_dim: int,
        num_layers: int,
        activation: Activation = "relu",
        sigmoid_output: bool = False,
    ) -> None:
        super().__init__()
        widths = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        *hidden, last = pairwise(widths)
        self.layers = nn.ModuleList([*(Linear(a, b, activation) for a, b in hidden), Linear(*last)])
        self.sigmoid_output = sigmoid_output

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., input_dim) to (..., output_dim); vectors (B, input_dim) independently of B, to the bit."""
        if x.ndim == 2:  # each eight an item of its own, of as many tokens as `linear` counts however large B is
            whole = F.pad(x, (0, 0, 0, -x.shape[0] % _ROWS))
            return self._forward(whole.unflatten(0, (-1, _ROWS))).flatten(0, 1)[: x.shape[0]]
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return F.sigmoid(x) if self.sigmoid_output else x
