"""The measure of parity."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["relative_error"]


def relative_error(ours: Tensor, reference: Tensor) -> float:
    """Return the largest absolute difference over the largest magnitude of the reference.

    Args:
        ours: any shape.
        reference: the same shape.

    Raises:
        ValueError: the shapes differ, or the reference is not finite.
    """
    if ours.shape != reference.shape:
        raise ValueError(f"shapes differ: {tuple(ours.shape)} and {tuple(reference.shape)}")
    if not torch.isfinite(reference).all():
        raise ValueError("the reference has values that are not finite")
    return float((ours - reference).abs().max() / reference.abs().max().clamp_min(1e-12))
