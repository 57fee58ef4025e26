"""Names of EdgeTAM's own parts in the Hugging Face layout: trunk, perceiver, memory attention's MLP."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# Applied in order to the names of these parts. SAM 2's rules leave what comes out as it is.
_RULES: tuple[tuple[str, str], ...] = (
    (r"^vision_encoder\.backbone\.timm_model\.", "image_encoder.trunk.body."),
    (r"^(memory_attention\.layers\.\d+)\.mlp\.up_proj\.", r"\1.linear1."),
    (r"^(memory_attention\.layers\.\d+)\.mlp\.down_proj\.", r"\1.linear2."),
    (r"^spatial_perceiver\.latents_1d$", "spatial_perceiver.latents"),
    (r"^spatial_perceiver\.layer_norm\.", "spatial_perceiver.norm."),
    (r"^(spatial_perceiver\.layers\.\d+)\.layer_norm_input\.", r"\1.attn.norm_x."),
    (r"^(spatial_perceiver\.layers\.\d+)\.layer_norm_latents\.", r"\1.attn.norm_latents."),
    (r"^(spatial_perceiver\.layers\.\d+)\.layer_norm_self\.", r"\1.self_attn.norm."),
    (r"^(spatial_perceiver\.layers\.\d+)\.cross_attention\.", r"\1.attn."),
    (r"^(spatial_perceiver\.layers\.\d+)\.self_attention\.", r"\1.self_attn."),
    (r"^(spatial_perceiver\.layers\.\d+\.(?:self_)?attn)\.q_proj\.", r"\1.to_q."),
    (r"^(spatial_perceiver\.layers\.\d+\.(?:self_)?attn)\.o_proj\.", r"\1.to_out."),
    (r"^(spatial_perceiver\.layers\.\d+)\.mlp\.", r"\1.ff."),
    (r"^(spatial_perceiver\.layers\.\d+)\.self_mlp\.", r"\1.self_ff."),
    (r"^(spatial_perceiver\.layers\.\d+\.(?:self_)?ff)\.layer_norm\.", r"\1.0."),
    (r"^(spatial_perceiver\.layers\.\d+\.(?:self_)?ff)\.up_proj\.", r"\1.1."),
    (r"^(spatial_perceiver\.layers\.\d+\.(?:self_)?ff)\.down_proj\.", r"\1.3."),
)
_KEYS, _VALUES = ".k_proj.weight", ".v_proj.weight"


def rename_edgetam_parts(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename what EdgeTAM has and SAM 2 has not; other names pass through unchanged.

    The projections of keys and values in the perceiver are two tensors in that layout, and one in Meta's.
    """
    renamed = {_rename(name): tensor for name, tensor in state.items()}
    for name in [name for name in renamed if name.startswith("spatial_perceiver.") and name.endswith(_KEYS)]:
        other = name.removesuffix(_KEYS) + _VALUES
        if other in renamed:
            renamed[name.removesuffix(_KEYS) + ".to_kv.weight"] = torch.cat((renamed.pop(name), renamed.pop(other)))
    return renamed


def _rename(name: str) -> str:
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return name
