"""Meta's `sam2` package as a contender: its video predictor, fed frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor, nn

from benchmarks.reference.peers import MissingPeerError, required
from benchmarks.reference.sam2 import OFFICIAL_CONFIGS, OfficialStream
from benchmarks.speed.work import Work, global_blocks
from sam_core.configuration import load_config
from sam_core.sam2 import Sam2

__all__ = ["Official", "build_official"]


class Official:
    """`SAM2VideoPredictor`, or its compiled variant for videos, `SAM2VideoPredictorVOS`.

    It is offline code that loads a whole video and keeps every frame and output. It gets one frame at a time, as in the
    parity tests (`OfficialStream`). Resize and normalisation are ours.

    Args:
        work: Model and weights.
        device: Where to run.
        dtype: bfloat16 runs it under autocast, as its examples do.
        compiled: Take the compiled variant; for CUDA alone.
    """

    def __init__(self, work: Work, device: torch.device, dtype: torch.dtype, *, compiled: bool = False) -> None:
        if compiled and device.type != "cuda":
            raise MissingPeerError("the compiled variant is for CUDA")
        self.period = 1
        self.name = f"sam2{' VOS, compiled' if compiled else ''}, {str(dtype).removeprefix('torch.')}"
        ours = work.build()
        self._predictor = build_official(work, ours, compiled=compiled).to(device)
        self._normalise = ours.to(device).normalise
        self._device, self._dtype = device, dtype
        self._stream: OfficialStream | None = None
        self._size = (0, 0)
        self.parts: Mapping[str, nn.Module] = {
            "encoder": self._predictor.image_encoder,
            "memory attention": self._predictor.memory_attention,
            "decoder": self._predictor.sam_mask_decoder,
            "memory encoder": self._predictor.memory_encoder,
        }

    def begin(self, frame: NDArray[np.uint8], boxes: Sequence[NDArray[np.float32]], *, in_parts: bool = False) -> None:
        """Open a stream, prompt each object."""
        self._stream = OfficialStream(self._predictor)
        self._size = (frame.shape[0], frame.shape[1])
        with torch.inference_mode(), self._precision():
            self._stream.step(self._image(frame), self._size)
            for k, box in enumerate(boxes):
                self._stream.prompt(k + 1, box=box)

    def step(self, frame: NDArray[np.uint8]) -> Tensor:
        """Track all objects."""
        assert self._stream is not None
        with torch.inference_mode(), self._precision():
            logits = self._stream.step(self._image(frame), self._size)
        assert logits is not None
        return logits > 0

    def end(self) -> None:
        """Let go of the stream."""
        self._stream = None

    def _image(self, frame: NDArray[np.uint8]) -> Tensor:
        return self._normalise(torch.from_numpy(frame).to(self._device)[None])[0]

    def _precision(self) -> AbstractContextManager[Any]:
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)


def build_official(work: Work, ours: Sam2, *, compiled: bool = False) -> Any:
    """Build the official predictor at the sizes of one of our configurations, with our weights.

    Raises:
        MissingPeerError: `sam2` is not installed.
    """
    build = required("sam2.build_sam")
    config = load_config("models", work.model, work.overrides).model
    version = "sam2.1" if config.pointer_time_encoding else "sam2"
    required("sam2.sam2_video_predictor").tqdm = lambda numbers, **_: numbers  # a progress bar for every frame
    predictor = build.build_sam2_video_predictor(
        OFFICIAL_CONFIGS[f"{version}_hiera_tiny"],
        device="cpu",
        vos_optimized=compiled,
        hydra_overrides_extra=_as_official_overrides(config),
    )
    predictor.fill_hole_area = 0  # needs its CUDA extension; ours leaves small holes, too
    predictor.sam_mask_decoder = _mask_decoder(config, predictor)
    if compiled:  # the decoder that was compiled has just been replaced
        decoder = predictor.sam_mask_decoder
        decoder.forward = torch.compile(decoder.forward, mode="max-autotune", fullgraph=True, dynamic=False)
    predictor.load_state_dict(ours.state_dict(), strict=True)
    return predictor.eval().requires_grad_(False)


def _as_official_overrides(config: DictConfig) -> list[str]:
    """Return the sizes of one of our configurations as overrides of the official tiny model's."""
    trunk, attention, memory = config.image_encoder.trunk, config.memory_attention, config.memory_encoder
    grid = config.image_size // 16
    widths = [trunk.embed_dim * 2**stage for stage in range(4)]
    layer = "memory_attention.layer"
    values = {
        "image_size": config.image_size,
        "multimask_output_in_sam": str(config.multimask_for_clicks).lower(),
        "multimask_output_for_tracking": str(config.multimask_for_tracking).lower(),
        "image_encoder.trunk.embed_dim": trunk.embed_dim,
        "image_encoder.trunk.num_heads": trunk.num_heads,
        "image_encoder.trunk.stages": list(trunk.stages),
        "image_encoder.trunk.global_att_blocks": global_blocks(config),
        "image_encoder.trunk.window_pos_embed_bkg_spatial_size": list(trunk.window_pos_embed_bkg_spatial_size),
        "image_encoder.trunk.window_spec": list(trunk.window_spec),
        "image_encoder.neck.d_model": config.d_model,
        "image_encoder.neck.backbone_channel_list": widths[::-1],
        "image_encoder.neck.position_encoding.num_pos_feats": config.d_model,
        "memory_attention.d_model": config.d_model,
        "memory_attention.num_layers": attention.num_layers,
        f"{layer}.d_model": config.d_model,
        f"{layer}.dim_feedforward": attention.feedforward_dim,
        f"{layer}.self_attention.embedding_dim": config.d_model,
        f"{layer}.self_attention.feat_sizes": [grid, grid],
        f"{layer}.cross_attention.embedding_dim": config.d_model,
        f"{layer}.cross_attention.feat_sizes": [grid, grid],
        f"{layer}.cross_attention.kv_in_dim": memory.memory_dim,
        "memory_encoder.out_dim": memory.memory_dim,
        "memory_encoder.in_dim": config.d_model,
        "memory_encoder.position_encoding.num_pos_feats": memory.memory_dim,
        "memory_encoder.mask_downsampler.embed_dim": config.d_model,
        "memory_encoder.fuser.layer.dim": config.d_model,
        "memory_encoder.fuser.num_layers": memory.fuser_layers,
    }
    return [f"++model.{name}={value}".replace(" ", "") for name, value in values.items()]


def _mask_decoder(config: DictConfig, predictor: Any) -> nn.Module:
    """Build the official decoder at our sizes: the official builder has fixed ones."""
    modules, ours = required("sam2.modeling.sam.mask_decoder"), config.mask_decoder
    transformer = required("sam2.modeling.sam.transformer").TwoWayTransformer(
        depth=ours.depth, embedding_dim=config.d_model, mlp_dim=ours.mlp_dim, num_heads=ours.num_heads
    )
    return modules.MaskDecoder(
        num_multimask_outputs=ours.num_multimask_outputs,
        transformer=transformer,
        transformer_dim=config.d_model,
        iou_head_depth=3,
        iou_head_hidden_dim=ours.iou_head_hidden_dim,
        use_high_res_features=True,
        iou_prediction_use_sigmoid=predictor.iou_prediction_use_sigmoid,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True,
        dynamic_multimask_via_stability=ours.stability_fallback,
        dynamic_multimask_stability_delta=ours.stability_delta,
        dynamic_multimask_stability_thresh=ours.stability_threshold,
    )
