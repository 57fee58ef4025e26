"""Layers that the networks share: norms, MLPs, attention, position encodings."""

from __future__ import annotations

from sam_core.layers.attention import Attention, RotaryAttention, attend, in_each_head
from sam_core.layers.derived import Derived
from sam_core.layers.linear import Affine, DerivedLinear, DoublingConv2d, Linear, PointwiseConv2d, nest, unnest
from sam_core.layers.mlp import MLP
from sam_core.layers.norm import LayerNorm, LayerNorm2d
from sam_core.layers.position import FourierPositionEncoding, SinePositionEncoding, sine_encoding_1d
from sam_core.layers.rotary import axial_rotary_table, rotate_

__all__ = [
    "MLP",
    "Affine",
    "Attention",
    "Derived",
    "DerivedLinear",
    "DoublingConv2d",
    "FourierPositionEncoding",
    "LayerNorm",
    "LayerNorm2d",
    "Linear",
    "PointwiseConv2d",
    "RotaryAttention",
    "SinePositionEncoding",
    "attend",
    "axial_rotary_table",
    "in_each_head",
    "nest",
    "rotate_",
    "sine_encoding_1d",
    "unnest",
]
