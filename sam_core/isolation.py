"""Keep results independent of what the caller has set in PyTorch: autocast, gradients, the default dtype.

Autocast and gradient modes belong to a thread, so entry points set their own. The default dtype belongs to the whole
process, and other threads may depend on it: code that runs per frame names its dtypes instead, and only building a
network changes it for a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any, ParamSpec, TypeVar

import torch

__all__ = ["build_context", "inference"]

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def _inference_context() -> Iterator[None]:
    with torch.inference_mode(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


def inference(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function in inference mode and without autocast: it computes in the network's own dtype.

    A generator runs so between its items; whoever takes them keeps the settings of their own.
    """
    if isgeneratorfunction(function):

        @wraps(function)
        def iterate(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            items = function(*args, **kwargs)
            while True:
                with _inference_context():
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                yield item

        return iterate  # type: ignore[return-value]

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with _inference_context():
            return function(*args, **kwargs)

    return run


@contextmanager
def build_context() -> Iterator[None]:
    """Create float32 weights that are no inference tensors, so that a network works in every mode afterwards."""
    dtype = torch.get_default_dtype()
    with torch.inference_mode(False):
        if dtype is not torch.float32:
            torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            if dtype is not torch.float32:
                torch.set_default_dtype(dtype)
