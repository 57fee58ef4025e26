"""Axial rotary position encoding over a grid of patches, as complex rotations kept in the checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor


def axial_rotations(head_dim: int, grid: int, scale: float = 1.0, theta: float = 10000.0) -> Tensor:
    """Return the rotation of every pair of channels at every place of a square grid.

    The first half of the pairs turns with the column, the second with the row ("Rotary Position Embedding for
    Vision Transformer", Heo et al., 2024, section 3.2, the axial variant).

    Args:
        head_dim: channels of one attention head, a multiple of 4.
        grid: places along each side.
        scale: factor on the positions; below 1 it brings a large grid back to the range seen in pretraining.
        theta: base of the geometric series of frequencies.

    Returns:
        (grid * grid, head_dim / 2) complex64 of modulus 1, rows first.
    """
    if head_dim % 4:
        raise ValueError(f"axial rotary encoding needs a multiple of 4 channels a head, not {head_dim}.")
    frequencies = 1.0 / theta ** (torch.arange(0, head_dim, 4, dtype=torch.float32, device="cpu") / head_dim)
    place = torch.arange(grid * grid, device="cpu")
    columns = (place % grid).float() * scale
    rows = (place // grid).float() * scale
    angles = torch.cat((torch.outer(columns, frequencies), torch.outer(rows, frequencies)), dim=1)
    return torch.polar(torch.ones_like(angles), angles)


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """Turn neighbouring pairs of channels of `x` (B, heads, N, C) by `rotations` (N, C / 2), in float32."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotations).flatten(-2).to(x.dtype)
