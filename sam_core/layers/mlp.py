"""The multi-layer perceptron of SAM's heads."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers.linear import Activation, Linear


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
        """Map (..., input_dim) to (..., output_dim)."""
        for layer in self.layers:
            x = layer(x)
        return F.sigmoid(x) if self.sigmoid_output else x
