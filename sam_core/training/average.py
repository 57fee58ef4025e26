"""The moving average of a run's weights, which is what is evaluated and exported."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

__all__ = ["make_average"]


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a model whose weights follow the model's as an exponential moving average.

    The decay after n steps is at most (1 + n) / (10 + n), as in TensorFlow's `ExponentialMovingAverage` with
    `num_updates`: else the average of a short run would mostly be the weights that it started from.

    Args:
        model: the network that is trained.
        decay: share of the average that a step leaves.
    """

    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], steps: Tensor | int) -> None:
        count = int(steps)
        get_ema_multi_avg_fn(min(decay, (1 + count) / (10 + count)))(averaged, current, steps)

    return AveragedModel(model, multi_avg_fn=update).eval()
