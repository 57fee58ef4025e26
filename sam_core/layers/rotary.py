"""Two-dimensional rotary position encoding (RoPE).

Source: "RoFormer" (Su et al., 2021, section 3.4) for the rotation; "Rotary Position Embedding for Vision
Transformer" (Heo et al., ECCV 2024, section 3.2) for the axial form: the first half of a head's channel pairs turns
with x, the second half with y. SAM 2 uses it in memory attention (SAM 2 paper, appendix D.1).
"""

from __future__ import annotations

import torch
from torch import Tensor


def axial_rotations(head_dim: int, height: int, width: int, theta: float, device: torch.device) -> Tensor:
    """Return the rotation of every channel pair of every token on a row-major grid.

    Args:
        head_dim: channels of one attention head, a multiple of 4.
        height: rows of the grid.
        width: columns of the grid.
        theta: base of the geometric series of frequencies.
        device: where the result lives.

    Returns:
        (height * width, head_dim / 2, 2) float32: cosine and sine of each angle.
    """
    frequencies = 1.0 / theta ** (torch.arange(0, head_dim, 4, device=device).float() / head_dim)
    of_rows, of_columns = (
        torch.outer(torch.arange(count, device=device).float(), frequencies) for count in (height, width)
    )
    shape = (height, width, head_dim // 4)
    angles = torch.cat((of_columns.expand(shape), of_rows[:, None].expand(shape)), dim=-1).flatten(0, 1)
    return torch.stack((angles.cos(), angles.sin()), dim=-1)


def rotate(x: Tensor, rotations: Tensor, num_unrotated: int = 0) -> Tensor:
    """Rotate neighbouring channel pairs of each token, in float32.

    Args:
        x: (..., r * N + P, C) tokens; the grid of N tokens repeats r times (frames of memory).
        rotations: (N, C / 2, 2) of `axial_rotations`.
        num_unrotated: P, tokens at the end that have no place and stay as they are.

    Returns:
        The shape and dtype of `x`.
    """
    placed, others = x.split((x.shape[-2] - num_unrotated, num_unrotated), dim=-2)
    maps = placed.float().unflatten(-2, (-1, rotations.shape[0])).unflatten(-1, (-1, 2))  # (..., r, N, C / 2, 2)
    (a, b), (cos, sin) = maps.unbind(-1), rotations.unbind(-1)
    rotated = torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1)
    return torch.cat((rotated.flatten(-2).flatten(-3, -2).to(x.dtype), others), dim=-2)
