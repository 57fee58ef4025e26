"""Position encodings without learnt weights: sine on a grid, random Fourier features of points, sine of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

_EPS = 1e-6


def sine_wavelengths(channels: int, temperature: float, device: torch.device) -> Tensor:
    """Return one wavelength for each pair of channels, a geometric series from 1 towards `temperature`.

    Args:
        channels: channels of the encoding, even.
        temperature: base of the series.
        device: where the result lives.

    Returns:
        (channels / 2,) float32, in units of 2π.
    """
    exponents = torch.arange(0, channels, 2, dtype=torch.float32, device=device) / channels
    return temperature**exponents


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
        height, width = x.shape[-2:]
        shape = (height, width, self.channels // 2)
        rows = self._encode(height, x.device)[:, None].expand(shape)
        columns = self._encode(width, x.device).expand(shape)
        return torch.cat((rows, columns), dim=-1).to(x.dtype).permute(2, 0, 1)[None]

    def _encode(self, count: int, device: torch.device) -> Tensor:
        """Encode `count` places along one axis as (count, channels / 2): sine and cosine of each wavelength in turn."""
        place = torch.arange(1, count + 1, dtype=torch.float32, device=device) / (count + _EPS) * (2 * math.pi)
        phases = place[:, None] / sine_wavelengths(self.channels // 2, self.temperature, device)
        return torch.stack((phases.sin(), phases.cos()), dim=-1).flatten(1)


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
        """Move the matrix to another device, but keep it in float32: bfloat16 is too coarse for the phases."""
        exact = self.positional_encoding_gaussian_matrix
        super()._apply(fn, recurse)
        moved = self.positional_encoding_gaussian_matrix
        if moved.dtype != torch.float32:
            self.positional_encoding_gaussian_matrix = exact.to(moved.device, torch.float32)
        return self

    def forward(self, points: Tensor) -> Tensor:
        """Encode points (..., 2) xy in [0, 1] as (..., channels), float32 arithmetic also under autocast."""
        with nullcontext() if points.is_meta else torch.autocast(points.device.type, enabled=False):
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
    """Encode scalars (...,) as (..., channels): all sines, then all cosines; each wavelength fills two of each.

    Source of the waves: "Attention Is All You Need" (Vaswani et al., 2017, section 3.5).
    """
    wavelengths = sine_wavelengths(channels // 2, temperature, values.device).repeat_interleave(2)
    phases = values.float()[..., None] / wavelengths
    return torch.cat((phases.sin(), phases.cos()), dim=-1)
