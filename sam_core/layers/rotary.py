"""Two-dimensional rotary position encoding (RoPE).

Source: "RoFormer" (Su et al., 2021, section 3.4) for the rotation; "Rotary Position Embedding for Vision
Transformer" (Heo et al., ECCV 2024, section 3.2) for the axial form: the first half of a head's channel pairs turns
with x, the second half with y. SAM 2 uses it in memory attention (SAM 2 paper, appendix D.1).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=32)
def axial_rotary_table(head_dim: int, height: int, width: int, theta: float, device: torch.device) -> Tensor:
    """Return every token's rotations on a row-major grid, as complex numbers of magnitude 1.

    Args:
        head_dim: channels of one attention head, a multiple of 4.
        height: rows of the grid.
        width: columns of the grid.
        theta: base of the geometric series of frequencies.
        device: where the table lives.

    Returns:
        (height * width, head_dim / 2) complex64.
    """
    with torch.inference_mode(False), torch.no_grad():
        exponents = torch.arange(0, head_dim, 4, device=device)[: head_dim // 4].float() / head_dim
        frequencies = 1.0 / theta**exponents
        ys, xs = torch.meshgrid(
            torch.arange(height, device=device).float(), torch.arange(width, device=device).float(), indexing="ij"
        )
        angles = torch.cat([torch.outer(xs.flatten(), frequencies), torch.outer(ys.flatten(), frequencies)], dim=-1)
        return torch.complex(angles.cos(), angles.sin())


def rotate_(x: Tensor, table: Tensor, but_last: int = 0) -> Tensor:
    """Rotate neighbouring channel pairs of each token, in place.

    A pair is taken for a complex number, and a rotation is one multiplication, in float32.

    Args:
        x: (..., N * r + P, C) tokens; the grid of N tokens may repeat r times (frames of memory).
        table: (N, C / 2) complex numbers of `axial_rotary_table`.
        but_last: P, tokens at the end that have no place and stay as they are.

    Returns:
        `x`.
    """
    placed = x[..., : x.shape[-2] - but_last, :]
    exact = placed.float()  # itself, if it is float32
    pairs = torch.view_as_complex(exact.unflatten(-1, (-1, 2)))
    pairs.unflatten(-2, (-1, table.shape[0])).mul_(table)  # (..., r, N, C / 2)
    if exact.dtype != x.dtype:
        placed.copy_(exact)
    return x
