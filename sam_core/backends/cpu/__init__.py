"""Inference on a CPU: packed weights, blocked attention, averages of raw values, folded normalisation.

`optimise_for_cpu` replaces modules of a built network in place. Parameters and their names stay the same, and so do
the numbers, up to rounding. The replacements apply to inference without gradients on a CPU; with gradients, on
another device, and under `torch.compile` and `torch.export` they compute what the plain modules do.

Besides speed they give one guarantee: the numbers of an object do not depend on how many others are in its batch, to
the bit. PyTorch by itself chooses other kernels, which round differently, for small batches than for large ones.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from sam_core.backends.cpu.attention import BlockedAttention, RawValueAttention
from sam_core.backends.cpu.folded import FoldedConvNorm, FoldedTokenMixer
from sam_core.backends.cpu.linear import PackedLinear, PaddedMLP
from sam_core.backends.cpu.maps import (
    CachedHiera,
    ItemwiseConv2d,
    LinearConvTranspose2d,
    PlanarLayerNorm2d,
    merge_skips,
)
from sam_core.backends.cpu.weight_cache import replace
from sam_core.edgetam.repvit import ConvNorm, TokenMixer
from sam_core.layers import MLP, DotProductAttention, LayerNorm2d, RotaryAttention
from sam_core.sam2 import Sam2
from sam_core.sam2.hiera import Hiera
from sam_core.sam2.image_encoder import ImageEncoder

__all__ = ["optimise_for_cpu"]

_REPLACEMENTS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: PackedLinear,
    nn.Conv2d: ItemwiseConv2d,
    nn.ConvTranspose2d: LinearConvTranspose2d,
    MLP: PaddedMLP,
    DotProductAttention: BlockedAttention,
    RotaryAttention: RawValueAttention,
    Hiera: CachedHiera,
    LayerNorm2d: PlanarLayerNorm2d,
    ConvNorm: FoldedConvNorm,
    TokenMixer: FoldedTokenMixer,
}


N = TypeVar("N", bound=nn.Module)


def optimise_for_cpu(model: N) -> N:
    """Replace modules of a network by faster ones of the same weights, in place.

    Args:
        model: SAM 1, SAM 2 or SAM 3's tracker, built, in evaluation mode. Weights may still be loaded, changed or moved
            afterwards: what was computed from them is computed again.

    Returns:
        The same model.
    """
    if isinstance(model, Sam2):
        merge_skips(model)
    for module in _modules(model):
        replacement = _REPLACEMENTS.get(type(module))
        if replacement is not None:
            replace(module, replacement)
    return model


def _modules(model: nn.Module) -> list[nn.Module]:
    """List the modules to replace. SAM 3's trunk stays: a detector may share it, and packing copies its weights."""
    is_plain = isinstance(model.image_encoder, ImageEncoder)
    return [m for name, m in model.named_modules() if is_plain or not name.startswith("image_encoder.trunk.")]
