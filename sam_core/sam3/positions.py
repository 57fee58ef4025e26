"""Sine encodings of coordinates and boxes in the unit square, and the box conversions that go with them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sam_core.layers import sine_wavelengths


def encode_coordinates(values: Tensor, channels: int, temperature: float = 10000.0) -> Tensor:
    """Encode coordinates by interleaved sines and cosines ("DETR", Carion et al., 2020, appendix A.4).

    Args:
        values: (...,) in [0, 1].
        channels: channels for each value, even.
        temperature: base of the geometric series of wavelengths.

    Returns:
        (..., channels) float32.
    """
    wavelengths = sine_wavelengths(channels, temperature, values.device)
    phases = values.float()[..., None] * (2 * math.pi) / wavelengths
    return torch.stack((phases.sin(), phases.cos()), dim=-1).flatten(-2)


def centre_to_corners(boxes: Tensor) -> Tensor:
    """Convert boxes (..., 4) from centre x, y, width, height to x1, y1, x2, y2."""
    centre, size = boxes.chunk(2, dim=-1)
    return torch.cat((centre - 0.5 * size, centre + 0.5 * size), dim=-1)


def corners_to_centre(boxes: Tensor) -> Tensor:
    """Convert boxes (..., 4) from x1, y1, x2, y2 to centre x, y, width, height."""
    first, second = boxes.chunk(2, dim=-1)
    return torch.cat(((first + second) / 2, second - first), dim=-1)


def inverse_sigmoid(x: Tensor, eps: float = 1e-3) -> Tensor:
    """Return the logit of probabilities, both sides kept at `eps` or above (Deformable DETR, Zhu et al., 2021)."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))
