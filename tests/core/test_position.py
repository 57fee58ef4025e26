"""Position encodings of points and pixels."""

from __future__ import annotations

import torch

from sam_core.layers import FourierPositionEncoding


def test_points_are_encoded_in_float32_under_autocast() -> None:
    """In bfloat16, pixels next to each other at 1000 px are one place."""
    torch.manual_seed(0)
    encoding = FourierPositionEncoding(64)
    points = torch.rand(100, 2)
    with torch.autocast("cpu", torch.bfloat16):
        encoded, grid = encoding(points), encoding.grid(8, 128)
    assert encoded.dtype == torch.float32
    assert torch.equal(encoded, encoding(points))
    assert torch.equal(grid, encoding.grid(8, 128))


def test_points_are_encoded_on_devices_without_autocast() -> None:
    assert FourierPositionEncoding(64).to("meta").grid(4, 6).shape == (1, 64, 4, 6)
