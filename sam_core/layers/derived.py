"""Values that follow from parameters alone: computed once, and again when a parameter has changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class _Kept(Generic[T]):
    """A value, the state of its sources, and their storage, held so that no other tensor gets its address."""

    state: tuple[object, ...]
    value: T
    sources: tuple[Tensor, ...]


class Derived(Generic[T]):
    """One kept value: a packed weight, a product of weights, a position embedding at the size in use.

    Where gradients are recorded for a source, the value is computed anew each time and is differentiable.
    """

    def __init__(self) -> None:
        self._kept: _Kept[T] | None = None

    def of(self, sources: Sequence[Tensor], compute: Callable[[], T], key: object = None) -> T:
        """Return `compute()`, or what it returned last time if nothing has changed.

        Args:
            sources: the tensors that the value is computed from. A change of their content is noticed by PyTorch's
                version counter, an exchange (as by `Module.to`) by their address.
            compute: the computation.
            key: whatever else the value depends on, such as a size.
        """
        if torch.is_grad_enabled() and any(source.requires_grad for source in sources):
            return compute()
        state = (key, *((s.data_ptr(), 0 if s.is_inference() else s._version) for s in sources))
        kept = self._kept
        if kept is None or kept.state != state:
            # No inference tensor: whoever trains another part of the network may save it for the backward pass.
            with torch.inference_mode(False), torch.no_grad():
                kept = _Kept(state, compute(), tuple(s.detach() for s in sources))
            self._kept = kept  # whole, as threads that share the network may do this at once
        return kept.value

    def __reduce__(self) -> tuple[type[Derived[T]], tuple[()]]:
        """Be copied and pickled without the value: a copy's sources are other tensors."""
        return type(self), ()
