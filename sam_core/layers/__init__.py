"""Layers that the networks share: norms, MLPs, attention, position encodings."""

from __future__ import annotations

from sam_core.layers.attention import Attention, RotaryAttention
from sam_core.layers.mlp import MLP
from sam_core.layers.norm import LayerNorm2d
from sam_core.layers.position import FourierPositionEncoding, SinePositionEncoding, sine_encoding_1d
from sam_core.layers.rotary import apply_rotary, axial_rotary_table

__all__ = [
    "MLP",
    "Attention",
    "FourierPositionEncoding",
    "LayerNorm2d",
    "RotaryAttention",
    "SinePositionEncoding",
    "apply_rotary",
    "axial_rotary_table",
    "sine_encoding_1d",
]
