"""SAM 1 from PyPI `segment-anything` and from `transformers` as references, at the sizes of our configurations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig

from benchmarks.reference.peers import required
from benchmarks.reference.torchvision_stand_in import torchvision_stand_in
from sam_core.configuration import load_config

__all__ = ["hugging_face_sam", "official_sam"]


def official_sam(name: str, overrides: Sequence[str] = ()) -> Any:
    """Build the network of `segment-anything` with random weights, in evaluation mode.

    Args:
        name: one of our configurations. Sizes of a published model are those that the package knows by its name.
        overrides: Hydra overrides of it.

    Raises:
        MissingPeerError: it is not installed.
    """
    with torchvision_stand_in():
        package = required("segment_anything")
        modeling = required("segment_anything.modeling")
    published = package.sam_model_registry.get(name.removeprefix("sam_"))
    if published is not None and not overrides:
        return published().eval()
    config = load_config("models", name, overrides).model
    encoder, decoder = config.image_encoder, config.mask_decoder
    grid = config.image_size // encoder.patch_size
    return modeling.Sam(
        image_encoder=modeling.ImageEncoderViT(
            img_size=config.image_size,
            patch_size=encoder.patch_size,
            embed_dim=encoder.width,
            depth=encoder.depth,
            num_heads=encoder.num_heads,
            mlp_ratio=encoder.mlp_ratio,
            out_chans=encoder.out_channels,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=encoder.window,
            global_attn_indexes=tuple(encoder.global_blocks),
        ),
        prompt_encoder=modeling.PromptEncoder(
            embed_dim=encoder.out_channels,
            image_embedding_size=(grid, grid),
            input_image_size=(config.image_size, config.image_size),
            mask_in_chans=16,
        ),
        mask_decoder=modeling.MaskDecoder(
            transformer_dim=encoder.out_channels,
            transformer=modeling.TwoWayTransformer(
                depth=decoder.depth,
                embedding_dim=encoder.out_channels,
                num_heads=decoder.num_heads,
                mlp_dim=decoder.mlp_dim,
            ),
            num_multimask_outputs=decoder.num_multimask_outputs,
            iou_head_hidden_dim=decoder.iou_head_hidden_dim,
        ),
    ).eval()


def hugging_face_sam(name: str, overrides: Sequence[str] = ()) -> Any:
    """Build `transformers`' `SamModel` with random weights, in evaluation mode.

    The norms of its decoder have another epsilon by default than Meta's; here they have Meta's.

    Args:
        name: one of our configurations.
        overrides: Hydra overrides of it.

    Raises:
        MissingPeerError: it is not installed.
    """
    sam = required("transformers.models.sam")
    return sam.SamModel(_hugging_face_config(sam, load_config("models", name, overrides).model)).eval()


def _hugging_face_config(sam: Any, config: DictConfig) -> Any:
    encoder, decoder = config.image_encoder, config.mask_decoder
    width = encoder.out_channels
    return sam.SamConfig(
        vision_config={
            "hidden_size": encoder.width,
            "output_channels": width,
            "num_hidden_layers": encoder.depth,
            "num_attention_heads": encoder.num_heads,
            "image_size": config.image_size,
            "patch_size": encoder.patch_size,
            "mlp_ratio": encoder.mlp_ratio,
            "mlp_dim": int(encoder.width * encoder.mlp_ratio),
            "window_size": encoder.window,
            "global_attn_indexes": list(encoder.global_blocks),
            "num_pos_feats": width // 2,
        },
        prompt_encoder_config={
            "hidden_size": width,
            "image_size": config.image_size,
            "patch_size": encoder.patch_size,
        },
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": decoder.mlp_dim,
            "num_attention_heads": decoder.num_heads,
            "num_hidden_layers": decoder.depth,
            "num_multimask_outputs": decoder.num_multimask_outputs,
            "iou_head_hidden_dim": decoder.iou_head_hidden_dim,
            "layer_norm_eps": 1e-5,
        },
    )
