"""Names of SAM 2's and EdgeTAM's tensors in the Hugging Face layout, and how they map to Meta's."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from sam_core.checkpoints.hugging_face_edgetam import rename_edgetam_parts

# Applied in order to each name; the first rules turn modules round, the last ones finish the leaves.
_RULES: tuple[tuple[str, str], ...] = (
    (r"^no_memory_embedding$", "no_mem_embed"),
    (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
    (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
    (r"^no_object_pointer$", "no_obj_ptr"),
    (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
    (r"^object_pointer_proj\.", "obj_ptr_proj."),
    (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
    (
        r"^prompt_encoder\.shared_embedding\.positional_embedding$",
        "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    # image encoder
    (r"^vision_encoder\.backbone\.patch_embed\.projection\.", "image_encoder.trunk.patch_embed.proj."),
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"^vision_encoder\.neck\.convs\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
    # prompt encoder
    (r"^prompt_encoder\.mask_embed\.conv1\.", "sam_prompt_encoder.mask_downscaling.0."),
    (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "sam_prompt_encoder.mask_downscaling.1."),
    (r"^prompt_encoder\.mask_embed\.conv2\.", "sam_prompt_encoder.mask_downscaling.3."),
    (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "sam_prompt_encoder.mask_downscaling.4."),
    (r"^prompt_encoder\.mask_embed\.conv3\.", "sam_prompt_encoder.mask_downscaling.6."),
    (r"^prompt_encoder\.", "sam_prompt_encoder."),
    # mask decoder
    (r"^mask_decoder\.upscale_conv1\.", "sam_mask_decoder.output_upscaling.0."),
    (r"^mask_decoder\.upscale_layer_norm\.", "sam_mask_decoder.output_upscaling.1."),
    (r"^mask_decoder\.upscale_conv2\.", "sam_mask_decoder.output_upscaling.3."),
    (r"^mask_decoder\.", "sam_mask_decoder."),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    # memory encoder
    (r"^memory_encoder\.mask_downsampler\.final_conv\.", "memory_encoder.mask_downsampler.encoder.final."),
    (r"^memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
    (r"^memory_encoder\.projection\.", "memory_encoder.out_proj."),
    (r"^memory_encoder\.memory_fuser\.", "memory_encoder.fuser."),
    (r"\.depthwise_conv\.", ".dwconv."),
    (r"\.pointwise_conv(\d)\.", r".pwconv\1."),
    (r"\.scale$", ".gamma"),
    # leaves
    (r"\.o_proj\.", ".out_proj."),
    (r"\.layer_norm(\d?)\.", r".norm\1."),
    (r"\.mlp\.proj_in\.", ".mlp.layers.0."),
    (r"\.mlp\.proj_out\.", ".mlp.layers.1."),
)
_HEAD = re.compile(
    r"^(obj_ptr_proj|sam_mask_decoder\.(?:iou_prediction_head|pred_obj_score_head|output_hypernetworks_mlps\.\d+))"
    r"\.(proj_in|layers\.(\d+)|proj_out)\."
)
_MASK_LAYER = re.compile(r"^memory_encoder\.mask_downsampler\.layers\.(\d+)\.(conv|norm)\.")


def is_hugging_face_sam2(state: Mapping[str, Tensor]) -> bool:
    """Tell the Hugging Face layout by its image encoder's prefix."""
    return any(name.startswith("vision_encoder.backbone.") for name in state)


def rename_hugging_face_sam2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of SAM 2 or EdgeTAM from the Hugging Face layout to Meta's; unknown names pass unchanged.

    The Fourier matrix stands there twice (`shared_image_embedding` and `prompt_encoder.shared_embedding`) or, where
    the file dropped tied tensors, once; the four point embeddings are one tensor.
    """
    state = rename_edgetam_parts(state)
    hidden = _hidden_layers(state)
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name == "shared_image_embedding.positional_embedding":
            renamed.setdefault("sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", tensor)
        elif name == "prompt_encoder.point_embed.weight":
            for kind in range(tensor.shape[0]):
                renamed[f"sam_prompt_encoder.point_embeddings.{kind}.weight"] = tensor[kind : kind + 1]
        else:
            renamed[_rename(name, hidden)] = tensor
    return renamed


def _rename(name: str, mask_layers: int) -> str:
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    if head := _HEAD.match(name):
        place = {"proj_in": 0, "proj_out": 2}.get(head[2], int(head[3] or 0) + 1)
        return f"{head[1]}.layers.{place}.{name[head.end() :]}"
    if layer := _MASK_LAYER.match(name):
        place = 3 * int(layer[1]) + (layer[2] == "norm")
        return f"memory_encoder.mask_downsampler.encoder.{place}.{name[layer.end() :]}"
    return name.replace(".encoder.final.", f".encoder.{3 * mask_layers}.")


def _hidden_layers(state: Mapping[str, Tensor]) -> int:
    """Count the strided layers of the mask downsampler."""
    return sum(bool(re.match(r"memory_encoder\.mask_downsampler\.layers\.\d+\.conv\.weight$", n)) for n in state)
