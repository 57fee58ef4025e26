"""Random weights of SAM 2 models on which parity can be measured.

Fresh weights hide mistakes: many parameters start as zeros or ones, objects count as absent, and memories hardly change
a mask. These do not.
"""

from __future__ import annotations

import torch

from sam_core.sam2 import Sam2

__all__ = ["make_lively", "randomise"]

_MEMORY_GAIN = 3.0


@torch.no_grad()
def make_lively(model: Sam2, object_score_bias: float | None = 5.0) -> None:
    """Give a model random weights under which memories change the masks and objects count as present, in place.

    Args:
        model: the model.
        object_score_bias: last bias of the presence head; None leaves it random.
    """
    randomise(model)
    for parameter in [*model.memory_attention.parameters(), model.maskmem_tpos_enc]:
        if parameter.ndim > 1:
            parameter.mul_(_MEMORY_GAIN)
    if object_score_bias is not None:
        presence = model.sam_mask_decoder.pred_obj_score_head.layers[-1]
        assert isinstance(presence, torch.nn.Linear)
        presence.bias.fill_(object_score_bias)


@torch.no_grad()
def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    """Give every parameter random values, those that start as constants (zeros, ones, layer scale) too, in place."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.numel() > 1 and parameter.std() == 0:
            parameter.add_(0.2 * noise)
        else:
            parameter.copy_(noise * parameter.std() if parameter.numel() > 1 else parameter)
