"""A CUDA stream for a thread, so that tracking and detection do not wait for each other's work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["own_stream"]


@contextmanager
def own_stream(device: torch.device | None, *, priority: int) -> Iterator[None]:
    """Let this thread work in a CUDA stream of its own; elsewhere there is nothing to do.

    Args:
        device: Where the thread works.
        priority: 0 is the lowest; work of a lower number goes first.
    """
    if device is None or device.type != "cuda":
        yield
        return
    torch.cuda.synchronize(device)  # what this thread works with was made in another stream
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.Stream(device, priority=priority)):
        yield
