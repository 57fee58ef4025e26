"""Layers that the networks share: attention, MLP, norm, position encodings. Plain PyTorch, without caches."""

from __future__ import annotations

from sam_core.layers.attention import Attention, DotProductAttention, RotaryAttention
from sam_core.layers.mlp import MLP
from sam_core.layers.norm import LayerNorm2d
from sam_core.layers.position import FourierPositionEncoding, SinePositionEncoding, sine_encoding_1d, sine_wavelengths
from sam_core.layers.rotary import axial_rotations, rotate

__all__ = [
    "MLP",
    "Attention",
    "DotProductAttention",
    "FourierPositionEncoding",
    "LayerNorm2d",
    "RotaryAttention",
    "SinePositionEncoding",
    "axial_rotations",
    "rotate",
    "sine_encoding_1d",
    "sine_wavelengths",
]
