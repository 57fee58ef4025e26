"""`transformers`' SAM 2 video model as a contender: a streaming session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.reference.peers import MissingPeerError, required
from benchmarks.speed.work import Work, global_blocks
from sam_core.checkpoints.hugging_face import rename_hugging_face_sam2
from sam_core.configuration import load_config
from sam_core.sam2 import Sam2

__all__ = ["HuggingFace", "HuggingFaceStream", "build_hugging_face"]


class HuggingFace:
    """`Sam2VideoModel` in a streaming session.

    Resize and normalisation are ours (its processor needs torchvision).

    Args:
        work: Model and weights.
        device: Where to run.
        dtype: Of the weights.
    """

    def __init__(self, work: Work, device: torch.device, dtype: torch.dtype) -> None:
        self.period = 1
        self.name = f"transformers, {str(dtype).removeprefix('torch.')}"
        ours = work.build()
        self._model = build_hugging_face(work, ours).to(device=device, dtype=dtype)
        self._normalise = ours.to(device=device, dtype=dtype).normalise
        self._stream: HuggingFaceStream | None = None
        self.parts: Mapping[str, nn.Module] = {
            "encoder": self._model.vision_encoder,
            "memory attention": self._model.memory_attention,
            "decoder": self._model.mask_decoder,
            "memory encoder": self._model.memory_encoder,
        }

    def begin(self, frame: NDArray[np.uint8], boxes: Sequence[NDArray[np.float32]], *, in_parts: bool = False) -> None:
        """Open a session, prompt each object on the first frame."""
        size = (frame.shape[0], frame.shape[1])
        self._stream = HuggingFaceStream(self._model, size, boxes)
        self.step(frame)

    def step(self, frame: NDArray[np.uint8]) -> Tensor:
        """Track all objects."""
        assert self._stream is not None
        with torch.inference_mode():
            return self._stream.step(self._normalise(torch.from_numpy(frame).to(self._model.device)[None])) > 0

    def end(self) -> None:
        """Let go of the session."""
        self._stream = None


class HuggingFaceStream:
    """A streaming session of `Sam2VideoModel`, with objects that begin in its first frame.

    Args:
        model: of `build_hugging_face`, on its device.
        size: (H, W) of the frames in px.
        boxes: (4,) xyxy px, one for each object.
    """

    def __init__(self, model: Any, size: tuple[int, int], boxes: Sequence[NDArray[np.float32]]) -> None:
        module = required("transformers.models.sam2_video.modeling_sam2_video")
        self._model, self._size = model, size
        places = ("inference_device", "inference_state_device", "video_storage_device")
        self._session = module.Sam2VideoInferenceSession(
            video_height=size[0], video_width=size[1], dtype=model.dtype, **dict.fromkeys(places, model.device)
        )
        scale = torch.tensor([model.config.image_size / size[1], model.config.image_size / size[0]])
        for k, box in enumerate(boxes):
            corners = torch.from_numpy(box).reshape(2, 2) * scale
            points = {"point_coords": corners[None, None], "point_labels": torch.tensor([[[2, 3]]], dtype=torch.int32)}
            self._session.add_point_inputs(self._session.obj_id_to_idx(k + 1), 0, points)
        self._session.obj_with_new_inputs = list(range(1, len(boxes) + 1))

    def step(self, images: Tensor) -> Tensor:
        """Track all objects into the next frame (1, 3, S, S), normalised; returns mask logits (N, H, W).

        The low-resolution masks are resized to the frame as in its processor.
        """
        masks = self._model(inference_session=self._session, frame=images).pred_masks
        return F.interpolate(masks.float(), size=self._size, mode="bilinear", align_corners=False)[:, 0]


def build_hugging_face(work: Work, ours: Sam2) -> Any:
    """Build `transformers`' model at the sizes of one of our configurations, with our weights.

    Raises:
        MissingPeerError: `transformers` is not installed, has no SAM 2, or cannot be given these sizes.
    """
    transformers = required("transformers")
    required("transformers.models.sam2_video")
    config = load_config("models", work.model, work.overrides).model
    if config.memory_encoder.memory_dim != 64:
        raise MissingPeerError("its memory has 64 channels")
    trunk, width, side, grid = config.image_encoder.trunk, config.d_model, config.image_size, config.image_size // 16
    widths = [trunk.embed_dim * 2**stage for stage in range(4)]
    theirs = transformers.Sam2VideoModel(
        transformers.Sam2VideoConfig(
            vision_config={
                "backbone_config": {
                    "model_type": "sam2_hiera_det_model",
                    "hidden_size": trunk.embed_dim,
                    "num_attention_heads": trunk.num_heads,
                    "image_size": [side, side],
                    "blocks_per_stage": list(trunk.stages),
                    "embed_dim_per_stage": widths,
                    "num_attention_heads_per_stage": [trunk.num_heads * 2**stage for stage in range(4)],
                    "window_size_per_stage": list(trunk.window_spec),
                    "window_positional_embedding_background_size": list(trunk.window_pos_embed_bkg_spatial_size),
                    "global_attention_blocks": global_blocks(config),
                },
                "backbone_channel_list": widths[::-1],
                "backbone_feature_sizes": [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
                "fpn_hidden_size": width,
            },
            prompt_encoder_config={"hidden_size": width, "image_size": side},
            mask_decoder_config={
                "hidden_size": width,
                "mlp_dim": config.mask_decoder.mlp_dim,
                "num_attention_heads": config.mask_decoder.num_heads,
                "iou_head_hidden_dim": config.mask_decoder.iou_head_hidden_dim,
                "dynamic_multimask_via_stability": config.mask_decoder.stability_fallback,
            },
            multimask_output_in_sam=config.multimask_for_clicks,
            multimask_output_for_tracking=config.multimask_for_tracking,
            image_size=side,
            memory_attention_hidden_size=width,
            memory_attention_num_layers=config.memory_attention.num_layers,
            memory_attention_feed_forward_hidden_size=config.memory_attention.feedforward_dim,
            memory_attention_rope_feat_sizes=[grid, grid],
            memory_encoder_hidden_size=width,
            memory_encoder_output_channels=config.memory_encoder.memory_dim,
            mask_downsampler_embed_dim=width,
            memory_fuser_embed_dim=width,
            memory_fuser_intermediate_dim=4 * width,
            enable_temporal_pos_encoding_for_object_pointers=config.pointer_time_encoding,
            enable_occlusion_spatial_embedding=config.no_object_memory,
        )
    ).eval()
    state, mine = theirs.state_dict(), ours.state_dict()
    renamed = rename_hugging_face_sam2(state)  # our names for views of their tensors
    assert renamed.keys() == mine.keys()
    with torch.no_grad():
        for name, tensor in renamed.items():
            tensor.copy_(mine[name])
        # The Fourier matrix stands in their model twice.
        state["shared_image_embedding.positional_embedding"].copy_(
            mine["sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
        )
    return theirs.requires_grad_(False)
