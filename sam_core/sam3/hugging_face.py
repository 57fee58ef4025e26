"""Names of SAM 3's detector in the Hugging Face layout, and how its tensors become Meta's.

The two layouts hold the same numbers. In the Hugging Face one the query, key and value projections are separate, the
text projection is transposed, and three things are left out: the class token's position (unused), the rotary tables
(computed) and the projections of exemplar points.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_TRUNK = "backbone.vision_backbone.trunk"
_TEXT = "backbone.language_backbone"

# Applied in order to each name: modules first, then leaves.
_RULES: tuple[tuple[str, str], ...] = (
    # image encoder
    (r"^vision_encoder\.backbone\.embeddings\.position_embeddings$", f"{_TRUNK}.pos_embed"),
    (r"^vision_encoder\.backbone\.embeddings\.patch_embeddings\.projection\.", f"{_TRUNK}.patch_embed.proj."),
    (r"^vision_encoder\.backbone\.layer_norm\.", f"{_TRUNK}.ln_pre."),
    (r"^vision_encoder\.backbone\.layers\.(\d+)\.attention\.o_proj\.", _TRUNK + r".blocks.\1.attn.proj."),
    (r"^vision_encoder\.backbone\.layers\.(\d+)\.attention\.(.)_proj\.", _TRUNK + r".blocks.\1.attn.qkv.\2."),
    (r"^vision_encoder\.backbone\.layers\.(\d+)\.layer_norm(\d)\.", _TRUNK + r".blocks.\1.norm\2."),
    (r"^vision_encoder\.backbone\.layers\.", f"{_TRUNK}.blocks."),
    (r"^vision_encoder\.neck\.fpn_layers\.", "backbone.vision_backbone.convs."),
    (r"^tracker_neck\.fpn_layers\.", "backbone.vision_backbone.sam2_convs."),
    (r"convs\.0\.scale_layers\.0\.", "convs.0.dconv_2x2_0."),
    (r"convs\.0\.scale_layers\.2\.", "convs.0.dconv_2x2_1."),
    (r"convs\.(\d+)\.scale_layers\.0\.", r"convs.\1.dconv_2x2."),
    (r"(convs\.\d+)\.proj1\.", r"\1.conv_1x1."),
    (r"(convs\.\d+)\.proj2\.", r"\1.conv_3x3."),
    # text encoder
    (r"^text_encoder\.text_projection\.weight$", f"{_TEXT}.encoder.text_projection"),
    (r"^text_encoder\.text_model\.embeddings\.position_embedding\.weight$", f"{_TEXT}.encoder.positional_embedding"),
    (r"^text_encoder\.text_model\.embeddings\.", f"{_TEXT}.encoder."),
    (r"^text_encoder\.text_model\.final_layer_norm\.", f"{_TEXT}.encoder.ln_final."),
    (r"^text_encoder\.text_model\.encoder\.layers\.", f"{_TEXT}.encoder.transformer.resblocks."),
    (r"(resblocks\.\d+)\.self_attn\.", r"\1.attn."),
    (r"(resblocks\.\d+)\.layer_norm(\d)\.", r"\1.ln_\2."),
    (r"(resblocks\.\d+)\.mlp\.fc1\.", r"\1.mlp.c_fc."),
    (r"(resblocks\.\d+)\.mlp\.fc2\.", r"\1.mlp.c_proj."),
    (r"^text_projection\.", f"{_TEXT}.resizer."),
    # geometry encoder
    (r"^geometry_encoder\.vision_layer_norm\.", "geometry_encoder.img_pre_norm."),
    (r"^geometry_encoder\.prompt_layer_norm\.", "geometry_encoder.norm."),
    (r"^geometry_encoder\.output_layer_norm\.", "geometry_encoder.encode_norm."),
    (r"^geometry_encoder\.layers\.", "geometry_encoder.encode."),
    # detection transformer
    (r"^detr_encoder\.", "transformer.encoder."),
    (r"^detr_decoder\.", "transformer.decoder."),
    (r"\.self_attn_layer_norm\.", ".norm2."),
    (r"\.text_cross_attn_layer_norm\.", ".catext_norm."),
    (r"\.vision_cross_attn_layer_norm\.", ".norm1."),
    (r"\.mlp_layer_norm\.", ".norm3."),
    (r"\.text_cross_attn\.", ".ca_text."),
    (r"\.vision_cross_attn\.", ".cross_attn."),
    (r"^((?:geometry_encoder\.encode|transformer\.encoder\.layers)\.\d+)\.cross_attn\.", r"\1.cross_attn_image."),
    (r"^((?:geometry_encoder|transformer)\..*)\.layer_norm(\d)\.", r"\1.norm\2."),
    (r"^((?:geometry_encoder|transformer)\..*)\.mlp\.fc(\d)\.", r"\1.linear\2."),
    (r"\.output_layer_norm\.", ".norm."),
    (r"\.presence_layer_norm\.", ".presence_token_out_norm."),
    (r"\.presence_head\.", ".presence_token_head."),
    (r"\.box_head\.", ".bbox_embed."),
    (r"\.box_rpb_embed_", ".boxRPB_embed_"),
    # segmentation head
    (r"^mask_decoder\.", "segmentation_head."),
    (r"\.mask_embedder\.", ".mask_predictor.mask_embed."),
    (r"\.instance_projection\.", ".instance_seg_head."),
    (r"\.semantic_projection\.", ".semantic_seg_head."),
    (r"\.prompt_cross_attn\.", ".cross_attend_prompt."),
    (r"\.prompt_cross_attn_norm\.", ".cross_attn_norm."),
    # scoring
    (r"^dot_product_scoring\.", "dot_prod_scoring."),
    (r"\.text_mlp\.", ".prompt_mlp."),
    (r"\.text_mlp_out_norm\.", ".prompt_mlp.out_norm."),
    (r"\.text_proj\.", ".prompt_proj."),
    (r"\.query_proj\.", ".hs_proj."),
    # attention's leaves
    (r"\.o_proj\.", ".out_proj."),
    (r"\.([qkv])_proj\.", r".in_proj.\1."),
)
_MLP_LAYER = re.compile(r"\.layer(\d)\.")
_SPLIT = re.compile(r"^(?P<head>.*)\.(?P<kind>qkv|in_proj)\.(?P<part>[qkv])\.(?P<leaf>weight|bias)$")

POINT_PROJECTIONS = ("points_direct_project", "points_pool_project", "points_pos_enc_project")


def is_hugging_face_detector(state: Mapping[str, Tensor]) -> bool:
    """Tell the layout by its image encoder, with or without the prefix that the video model's file has."""
    return any("vision_encoder.backbone.embeddings." in name for name in state)


def rename_hugging_face_detector(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn a detector's tensors, prefix removed, from the Hugging Face layout into Meta's.

    Unknown names pass through with whatever rules apply, so that a strict check names them. What the layout leaves
    out is not filled in here, except for the position of the class token: zeros, which nothing reads.
    """
    renamed: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    for source, tensor in state.items():
        name = _rename(source)
        if match := _SPLIT.match(name):
            joint = ".qkv." if match["kind"] == "qkv" else ".in_proj_"
            thirds.setdefault(match["head"] + joint + match["leaf"], {})[match["part"]] = tensor
        elif name == f"{_TEXT}.encoder.text_projection":
            renamed[name] = tensor.t().contiguous()
        elif name == f"{_TRUNK}.pos_embed":
            renamed[name] = torch.cat((torch.zeros_like(tensor[:, :1]), tensor), dim=1)
        else:
            renamed[name] = tensor
    for name, parts in thirds.items():
        if len(parts) == 3:
            renamed[name] = torch.cat([parts[part] for part in "qkv"])
        else:  # an incomplete attention stays visible under the names it has
            renamed.update({f"{name} ({part} alone)": tensor for part, tensor in parts.items()})
    return renamed


def _rename(name: str) -> str:
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return _MLP_LAYER.sub(lambda layer: f".layers.{int(layer[1]) - 1}.", name)
