"""How a module is replaced, when the replacement applies, and what it keeps of its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def applies_to(x: Tensor) -> bool:
    """Tell whether `x` is on a CPU and neither gradients are recorded nor the network is traced."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


class WeightCache:
    """One value that was computed from weights; computed again when one of them has changed."""

    def __init__(self) -> None:
        # State of the weights, the value, and the weights, so that no other tensor gets their addresses. In one tuple,
        # as threads that share a network may replace it at the same time.
        self._entry: tuple[tuple[object, ...], Any, tuple[Tensor, ...]] | None = None

    def get(self, weights: Sequence[Tensor], compute: Callable[[], Any], key: object = None) -> Any:
        """Return `compute()`, or its last result if nothing has changed.

        Args:
            weights: what the value is computed from. PyTorch's version counter tells a change of their content, their
                address an exchange (as by `Module.to`).
            compute: the computation.
            key: whatever else the value depends on, such as a size.
        """
        state = (key, *((w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights))
        entry = self._entry
        if entry is None or entry[0] != state:
            # An inference tensor could not be saved for the backward pass of a network that is trained later.
            with torch.inference_mode(False), torch.no_grad():
                entry = (state, compute(), tuple(w.detach() for w in weights))
            self._entry = entry
        return entry[1]

    def __reduce__(self) -> tuple[type[WeightCache], tuple[()]]:
        """Copy and pickle without the value: the weights of a copy are other tensors."""
        return type(self), ()


def replace(module: nn.Module, kind: type[nn.Module], **attributes: Any) -> None:
    """Make a module one of a subclass of its class, in place, with an empty `cache`.

    Args:
        module: it keeps its parameters, its hooks and its place in the network.
        kind: the subclass.
        attributes: further attributes; a module among them is not registered as a child.
    """
    module.__class__ = kind
    module.__dict__.update(cache=WeightCache(), **attributes)
