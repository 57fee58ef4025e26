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
def axial_rotary_table(
    head_dim: int, height: int, width: int, theta: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of every token's rotation angles on a row-major grid.

    Args:
        head_dim: channels of one attention head, a multiple of 4.
        height: rows of the grid.
        width: columns of the grid.
        theta: base of the geometric series of frequencies.
        device: where the table lives.

    Returns:
        Two float32 tensors (height * width, head_dim / 2).
    """
    with torch.inference_mode(False), torch.no_grad():
        exponents = torch.arange(0, head_dim, 4, device=device)[: head_dim // 4].float() / head_dim
        frequencies = 1.0 / theta**exponents
        ys, xs = torch.meshgrid(
            torch.arange(height, device=device).float(), torch.arange(width, device=device).float(), indexing="ij"
        )
        angles = torch.cat([torch.outer(xs.flatten(), frequencies), torch.outer(ys.flatten(), frequencies)], dim=-1)
        return angles.cos(), angles.sin()


def apply_rotary(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate neighbouring channel pairs of each token.

    Args:
        x: (..., N * r, C) tokens; the grid of N tokens may repeat r times (frames of memory).
        table: cosine and sine (N, C / 2) of `axial_rotary_table`.

    Returns:
        The rotated tokens, same shape and dtype; the arithmetic is float32.
    """
    cos, sin = table
    pairs = x.float().unflatten(-1, (-1, 2)).unflatten(-3, (-1, cos.shape[0]))  # (..., r, N, C/2, 2)
    even, odd = pairs.unbind(-1)
    rotated = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return rotated.flatten(-2).flatten(-3, -2).type_as(x)
