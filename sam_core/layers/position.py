"""Position encodings without learnt weights: sine on a grid, random Fourier features of points, sine of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

_EPS = 1e-6


@lru_cache(maxsize=32)
def _sine_grid(
    channels: int, temperature: float, height: int, width: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        half = channels // 2
        index = torch.arange(half, dtype=torch.float32, device=device)
        wavelengths = temperature ** (2 * torch.div(index, 2, rounding_mode="floor") / half)

        def encode(count: int) -> Tensor:  # (count, half)
            place = torch.arange(1, count + 1, dtype=torch.float32, device=device) / (count + _EPS) * (2 * math.pi)
            phases = place[:, None] / wavelengths
            return torch.stack((phases[:, 0::2].sin(), phases[:, 1::2].cos()), dim=2).flatten(1)

        rows = encode(height).t()[:, :, None].expand(-1, -1, width)
        columns = encode(width).t()[:, None, :].expand(-1, height, -1)
        return torch.cat((rows, columns))[None].to(dtype).contiguous(memory_format=torch.channels_last)


class SinePositionEncoding(nn.Module):
    """Sine encoding of normalised rows and columns ("DETR", Carion et al., 2020, appendix A.4).

    Args:
        channels: channels of the encoding; the first half encodes y, the second x.
        temperature: base of the geometric series of wavelengths.
    """

    def __init__(self, channels: int, temperature: float = 10000.0) -> None:
        super().__init__()
        if channels % 4:
            raise ValueError(f"a sine position encoding needs a multiple of 4 channels, not {channels}.")
        self.channels = channels
        self.temperature = temperature

    def forward(self, x: Tensor) -> Tensor:
        """Return the (1, channels, H, W) encoding of the grid of `x` (B, C, H, W), in its dtype, channels last."""
        return _sine_grid(self.channels, self.temperature, x.shape[-2], x.shape[-1], x.dtype, x.device)


class FourierPositionEncoding(nn.Module):
    """Random Fourier features of points in the unit square ("Fourier Features", Tancik et al., 2020, section 5).

    Args:
        channels: channels of the encoding, half sines, half cosines.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, channels // 2))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FourierPositionEncoding:
        """Follow the network to another device, but stay float32: bfloat16 cannot tell the phases of many turns."""
        exact = self.positional_encoding_gaussian_matrix
        super()._apply(fn, recurse)
        moved = self.positional_encoding_gaussian_matrix
        if moved.dtype != exact.dtype:
            self.positional_encoding_gaussian_matrix = exact.to(moved.device)
        return self

    def forward(self, points: Tensor) -> Tensor:
        """Encode points (..., 2) xy in [0, 1] as (..., channels), float32 arithmetic."""
        projected = (2 * points.float() - 1) @ self.positional_encoding_gaussian_matrix
        phases = 2 * math.pi * projected
        return torch.cat((phases.sin(), phases.cos()), dim=-1)

    def grid(self, height: int, width: int) -> Tensor:
        """Encode the pixel centres of a grid as (1, channels, height, width)."""
        device = self.positional_encoding_gaussian_matrix.device
        ys = (torch.arange(height, dtype=torch.float32, device=device) + 0.5) / height
        xs = (torch.arange(width, dtype=torch.float32, device=device) + 0.5) / width
        grid_y, grid_x = torch.meshgrid(ys, xs, indexing="ij")
        return self(torch.stack((grid_x, grid_y), dim=-1)).permute(2, 0, 1)[None]


def sine_encoding_1d(values: Tensor, channels: int, temperature: float = 10000.0) -> Tensor:
    """Encode scalars (...,) as (..., channels): sines, then cosines ("Attention Is All You Need", section 3.5)."""
    half = channels // 2
    index = torch.arange(half, dtype=torch.float32, device=values.device)
    wavelengths = temperature ** (2 * torch.div(index, 2, rounding_mode="floor") / half)
    phases = values.float()[..., None] / wavelengths
    return torch.cat((phases.sin(), phases.cos()), dim=-1)
