"""`transformers`' port of EdgeTAM as the reference: on our weights, fed frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.reference.peers import required
from benchmarks.reference.sharing import give_weights
from benchmarks.reference.timm import wrapped_timm_config
from benchmarks.reference.weights import make_lively
from sam_core.build import build_model
from sam_core.checkpoints.hugging_face import rename_hugging_face_sam2
from sam_core.configuration import load_config
from sam_core.edgetam import EdgeTam

__all__ = ["LIKE_REFERENCE", "EdgeTamStream", "edgetam_pair", "edgetam_reference"]

# The test model, with the width of memories that the port has as a constant. And the pointer that a mask prompt leaves
# is that of the best of three candidates in the port, but that of one mask in Meta's code.
LIKE_REFERENCE = ("model.d_model=128", "model.memory_encoder.memory_dim=64", "+model.multimask_for_masks=true")
_TIMM_NAME = "repvit_m1.dist_in1k"


def edgetam_reference(name: str, overrides: Sequence[str] = ()) -> Any:
    """Build the port with random weights in the sizes of one of our configurations.

    Args:
        name: `edgetam` or `edgetam_micro`.
        overrides: Hydra overrides.

    Raises:
        MissingPeerError: `transformers` or timm is not installed.
    """
    transformers = required("transformers")
    model = load_config("models", name, overrides).model
    grid, width, memory = model.image_size // 16, model.d_model, model.memory_encoder.memory_dim
    trunk, perceiver, attention = model.image_encoder.trunk, model.spatial_perceiver, model.memory_attention
    layers = {"embed_dim": tuple(trunk.channels), "depth": tuple(trunk.depths)}
    timm_arguments = {"in_chans": 3, "features_only": True, "out_indices": (0, 1, 2, 3), **layers}
    vision = transformers.EdgeTamVisionConfig(
        backbone_config=wrapped_timm_config(_TIMM_NAME, timm_arguments),
        backbone_channel_list=list(trunk.channels)[::-1],
        backbone_feature_sizes=[[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
        fpn_hidden_size=width,
    )
    config = transformers.EdgeTamVideoConfig(
        image_size=model.image_size,
        vision_config=vision,
        prompt_encoder_config={"hidden_size": width, "image_size": model.image_size},
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": model.mask_decoder.mlp_dim,
            "num_attention_heads": model.mask_decoder.num_heads,
            "iou_head_hidden_dim": model.mask_decoder.iou_head_hidden_dim,
        },
        num_maskmem=model.num_memories,
        enable_occlusion_spatial_embedding=model.no_object_memory,
        enable_temporal_pos_encoding_for_object_pointers=model.pointer_time_encoding,
        memory_attention_hidden_size=width,
        memory_attention_num_layers=attention.num_layers,
        memory_attention_mlp_hidden_size=attention.feedforward_dim,
        memory_attention_rope_feat_sizes=[grid] * 2,
        memory_attention_rope_k_sizes=[attention.memory_grid] * 2,
        perceiver_resampler_num_latents=perceiver.num_latents,
        perceiver_resampler_num_latents_2d=perceiver.num_latents_2d,
        perceiver_resampler_hidden_size=memory,
        perceiver_resampler_mlp_intermediate_size=perceiver.mlp_ratio * memory,
        perceiver_resampler_attention_head_dim=memory,
        perceiver_resampler_num_layers=perceiver.depth,
        memory_encoder_hidden_size=width,
        memory_encoder_output_channels=memory,
        mask_downsampler_embed_dim=width,
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=4 * width,
    )
    return transformers.EdgeTamVideoModel(config).eval()


def edgetam_pair(
    name: str = "edgetam_micro",
    overrides: Sequence[str] = LIKE_REFERENCE,
    object_score_bias: float | None = 5.0,
) -> tuple[EdgeTam, Any]:
    """Return our model, plain, and the reference, with equal random weights.

    Args:
        name: `edgetam` or `edgetam_micro`.
        overrides: Hydra overrides.
        object_score_bias: last bias of the presence head, so that objects count as present; None leaves it random.

    Raises:
        MissingPeerError: `transformers` or timm is not installed.
    """
    reference = edgetam_reference(name, overrides)
    ours = build_model(name, overrides)
    assert isinstance(ours, EdgeTam)
    make_lively(ours, object_score_bias)
    _use_statistics(ours)
    give_weights(ours.state_dict(), reference, rename_hugging_face_sam2)
    ours.requires_grad_(False)
    return ours, reference


@torch.no_grad()
def _use_statistics(model: EdgeTam) -> None:
    """Give each batch normalisation means and variances other than 0 and 1, which would hide a mistake."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))


class EdgeTamStream:
    """Feed the reference frame by frame.

    The port leaves out that an earlier mask of the frame goes back in with a second click, so prompts are put to the
    part of it that its `forward` puts them to. It makes the memory of a mask prompt from the mask itself; Meta's
    predictor makes it from the mask's low-resolution logits, and so does this class.

    Args:
        model: of `edgetam_pair`.
    """

    def __init__(self, model: Any) -> None:
        module = required("transformers.models.edgetam_video.modeling_edgetam_video")
        self.model = model
        places = ("inference_device", "inference_state_device", "video_storage_device")
        self.session = module.EdgeTamVideoInferenceSession(dtype=torch.float32, **dict.fromkeys(places, model.device))
        self.frame = -1

    def step(self, image: Tensor) -> dict[int, Tensor]:
        """Track all objects into the next frame.

        Args:
            image: (3, S, S), normalised.

        Returns:
            The mask logits (m, m) of each object.
        """
        self.frame += 1
        if not self.session.obj_ids:
            self.session.add_new_frame(image)
            return {}
        output = self.model(self.session, frame=image)
        return dict(zip(output.object_ids, output.pred_masks[:, 0], strict=True))

    def prompt(
        self, object_id: int, points: Tensor | None = None, labels: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Prompt an object on the newest frame.

        Args:
            object_id: an object, or a new one.
            points: (K, 2) in px of the input.
            labels: (K,), 2 and 3 for a box's corners.
            mask: (S, S) of 0 and 1.

        Returns:
            Its mask logits (m, m).
        """
        session, frame = self.session, self.frame
        index = session.obj_id_to_idx(object_id)
        begins = frame not in session.frames_tracked_per_obj[index]
        inputs = previous = None
        if mask is None:
            inputs = {"point_coords": points[None, None], "point_labels": labels[None, None]}  # type: ignore[index]
            earlier = session.output_dict_per_obj[index]["non_cond_frame_outputs"].pop(frame, None)
            previous = None if earlier is None else earlier["pred_masks"].clamp(-32.0, 32.0)
        out = self.model._run_single_frame_inference(
            inference_session=session,
            obj_idx=index,
            frame_idx=frame,
            batch_size=1,
            is_init_cond_frame=begins,
            point_inputs=inputs,
            mask_inputs=None if mask is None else mask.float()[None, None],
            reverse=False,
            run_mem_encoder=mask is None,
            prev_sam_mask_logits=previous,
            streaming=True,
        )
        if mask is not None:
            features = self.model._prepare_vision_features(session, frame, 1)[0][-1]
            logits = F.interpolate(out["pred_masks"], size=mask.shape, mode="bilinear", align_corners=False)
            memory = self.model._encode_new_memory(features, logits, out["object_score_logits"], True)
            out["maskmem_features"], out["maskmem_pos_enc"] = memory
        session.store_output(index, frame, output_value=out, is_conditioning_frame=begins)
        return out["pred_masks"][0, 0]
