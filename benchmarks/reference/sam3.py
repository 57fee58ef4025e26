"""`transformers`' SAM 3 port as the reference: its configuration, and random weights shared with our network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.reference.peers import required
from sam_core.configuration import load_config
from sam_core.sam3 import ConceptNetwork
from sam_core.sam3.attention import PackedAttention
from sam_core.sam3.geometry import GeometryPrompts
from sam_core.sam3.hugging_face import rename_hugging_face_detector
from sam_core.sam3.roi_align import roi_align

__all__ = [
    "fill_from_reference",
    "let_some_pass",
    "presence_layer",
    "randomise",
    "reference_config",
    "reference_roi_align",
    "share_random_weights",
]

# The port has no exemplar points, and computes its rotary tables.
_NOT_IN_REFERENCE = {"freqs_cis", "points_direct_project", "points_pool_project", "points_pos_enc_project"}


def randomise(module: nn.Module, seed: int) -> None:
    """Fill every parameter in place so that signals keep their scale and no zero or constant hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for _, part in sorted(module.named_modules()):
        for name, parameter in sorted(part.named_parameters(recurse=False)):
            noise = torch.randn(parameter.shape, generator=generator)
            if isinstance(part, (nn.LayerNorm, nn.GroupNorm)):
                noise = 0.2 * noise + (1.0 if name == "weight" else 0.0)
            elif isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, PackedAttention)) and parameter.dim() > 1:
                noise *= 1.2 / parameter[0].numel() ** 0.5
            else:
                noise *= 0.5
            parameter.data.copy_(noise)


def presence_layer(network: ConceptNetwork) -> nn.Linear:
    """Return the layer that computes the presence logit."""
    layer = network.transformer.decoder.presence_token_head.layers[-1]
    assert isinstance(layer, nn.Linear)
    return layer


@torch.no_grad()
def let_some_pass(network: ConceptNetwork) -> None:
    """Bias presence and class so that about half of the queries of any phrase score above 0.5."""
    presence_layer(network).weight.mul_(0.2)
    presence_layer(network).bias.fill_(3.0)
    scoring = network.dot_prod_scoring
    scoring.prompt_proj.weight.mul_(0.2)  # the scores depend on the prompt less than on its bias
    scoring.hs_proj.weight.mul_(4.0)
    generator = torch.Generator().manual_seed(5)
    image = torch.randn(1, 3, network.image_size, network.image_size, generator=generator)
    text = network.encode_text(torch.tensor([[49406, 4481, 1937, 49407], [49406, 6744, 5392, 49407]]))
    logits = network.ground(network.encode_image(image), text, GeometryPrompts.none(2, image.device)).logits
    direction = scoring.prompt_proj.bias
    shift = (0.3 - logits.median()) * direction.numel() ** 0.5 / direction.square().sum()
    scoring.hs_proj.bias.add_(shift * direction)


def reference_config(name: str, overrides: list[str] | tuple[str, ...] = ()) -> Any:
    """Translate one of our configurations into the reference's `Sam3Config`.

    Args:
        name: stem of a file in `config/models`.
        overrides: Hydra overrides.
    """
    c = required("transformers.models.sam3.configuration_sam3")
    config = load_config("models", name, overrides)
    sizes, model = config.sizes, config.model
    trunk = model.backbone.vision_backbone.trunk
    text = model.backbone.language_backbone.encoder
    common = {"hidden_size": sizes.channels, "num_attention_heads": sizes.num_heads}
    feed = {**common, "intermediate_size": sizes.hidden}
    return c.Sam3Config(
        vision_config={
            "model_type": "sam3_vision_model",
            "fpn_hidden_size": sizes.channels,
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": trunk.width,
                "intermediate_size": int(trunk.width * trunk.mlp_ratio),
                "num_hidden_layers": trunk.depth,
                "num_attention_heads": trunk.num_heads,
                "image_size": sizes.image_size,
                "patch_size": trunk.patch_size,
                "window_size": trunk.window,
                "global_attn_indexes": list(trunk.global_blocks),
                "pretrain_image_size": trunk.pretrain_image_size,
                "layer_norm_eps": trunk.norm_eps,
            },
        },
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": text.vocabulary_size,
            "hidden_size": text.width,
            "intermediate_size": int(text.width * text.mlp_ratio),
            "projection_dim": text.output_dim,
            "num_hidden_layers": text.depth,
            "num_attention_heads": text.num_heads,
            "max_position_embeddings": config.detector.context_length,
            "hidden_act": "gelu",
        },
        geometry_encoder_config={**feed, "num_layers": model.geometry_encoder.num_layers},
        detr_encoder_config={**feed, "num_layers": model.transformer.encoder.num_layers},
        detr_decoder_config={
            **feed,
            "num_layers": model.transformer.decoder.num_layers,
            "num_queries": model.transformer.decoder.num_queries,
        },
        mask_decoder_config={**common, "num_upsampling_stages": model.segmentation_head.num_stages},
    )


def reference_roi_align(features: Tensor, boxes: list[Tensor], output_size: int) -> Tensor:
    """Replace torchvision's function, which is not installed, by ours, which has a test of its own.

    Args:
        features: (B, C, h, w).
        boxes: for each of B images (N, 4) xyxy in cells of the features.
        output_size: cells of a box along each axis.
    """
    return roi_align(features, torch.stack(list(boxes)), output_size).flatten(0, 1)


def fill_from_reference(network: ConceptNetwork, reference: nn.Module) -> None:
    """Load the reference's weights into our network; parameters that its layout lacks stay.

    Raises:
        ValueError: the layouts differ in more than that.
    """
    state = rename_hugging_face_detector(reference.state_dict())
    missing, unexpected = network.load_state_dict(state, strict=False)
    lacking = {name.split(".")[-2 if name.endswith(("weight", "bias")) else -1] for name in missing}
    if unexpected or lacking != _NOT_IN_REFERENCE:
        raise ValueError(f"unexpected parameters {unexpected}, missing {sorted(lacking)}")


def share_random_weights(network: ConceptNetwork, reference: Any) -> None:
    """Give our network and the reference the same random weights, under which some instances pass the threshold."""
    randomise(reference, seed=7)
    randomise(network, seed=11)
    fill_from_reference(network, reference)
    let_some_pass(network)
    with torch.no_grad():
        reference.detr_decoder.presence_head.layer3.load_state_dict(presence_layer(network).state_dict())
        reference.dot_product_scoring.query_proj.load_state_dict(network.dot_prod_scoring.hs_proj.state_dict())
        reference.dot_product_scoring.text_proj.load_state_dict(network.dot_prod_scoring.prompt_proj.state_dict())
