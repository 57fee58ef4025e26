"""Meta's `sam2` package as the reference: its networks on our weights, its video predictor fed frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from benchmarks.reference.peers import required
from benchmarks.reference.weights import make_lively
from sam_core.backends.cpu import optimise_for_cpu
from sam_core.build import build_model
from sam_core.sam2 import Sam2

__all__ = ["OFFICIAL_CONFIGS", "OfficialStream", "micro_pair", "official_predictor"]

# The test model, with the widths that the official code has as constants.
MICRO = "sam2.1_micro"
MICRO_LIKE_OFFICIAL = (
    "model.mask_decoder.num_heads=8",
    "model.mask_decoder.mlp_dim=2048",
    "model.mask_decoder.iou_head_hidden_dim=256",
)
# The same model as overrides of the official configuration.
_OFFICIAL_MICRO = (
    "++model.image_size=128",
    "++model.image_encoder.trunk.embed_dim=16",
    "++model.image_encoder.trunk.stages=[1,1,2,1]",
    "++model.image_encoder.trunk.global_att_blocks=[3]",
    "++model.image_encoder.trunk.window_pos_embed_bkg_spatial_size=[4,4]",
    "++model.image_encoder.trunk.window_spec=[8,4,4,2]",
    "++model.image_encoder.neck.d_model=32",
    "++model.image_encoder.neck.backbone_channel_list=[128,64,32,16]",
    "++model.image_encoder.neck.position_encoding.num_pos_feats=32",
    "++model.memory_attention.d_model=32",
    "++model.memory_attention.num_layers=2",
    "++model.memory_attention.layer.d_model=32",
    "++model.memory_attention.layer.dim_feedforward=64",
    "++model.memory_attention.layer.self_attention.embedding_dim=32",
    "++model.memory_attention.layer.cross_attention.embedding_dim=32",
    "++model.memory_attention.layer.cross_attention.kv_in_dim=16",
    "++model.memory_encoder.out_dim=16",
    "++model.memory_encoder.in_dim=32",
    "++model.memory_encoder.position_encoding.num_pos_feats=16",
    "++model.memory_encoder.mask_downsampler.embed_dim=32",
    "++model.memory_encoder.fuser.layer.dim=32",
)
OFFICIAL_CONFIGS = {
    "sam2_hiera_tiny": "configs/sam2/sam2_hiera_t.yaml",
    "sam2_hiera_small": "configs/sam2/sam2_hiera_s.yaml",
    "sam2_hiera_base_plus": "configs/sam2/sam2_hiera_b+.yaml",
    "sam2_hiera_large": "configs/sam2/sam2_hiera_l.yaml",
    "sam2.1_hiera_tiny": "configs/sam2.1/sam2.1_hiera_t.yaml",
    "sam2.1_hiera_small": "configs/sam2.1/sam2.1_hiera_s.yaml",
    "sam2.1_hiera_base_plus": "configs/sam2.1/sam2.1_hiera_b+.yaml",
    "sam2.1_hiera_large": "configs/sam2.1/sam2.1_hiera_l.yaml",
}


def official_predictor(name: str, overrides: Sequence[str] = ()) -> Any:
    """Build the official video predictor with random weights on the CPU.

    Args:
        name: one of `OFFICIAL_CONFIGS`.
        overrides: Hydra overrides of the official configuration.

    Raises:
        MissingPeerError: `sam2` is not installed.
    """
    build = required("sam2.build_sam")
    predictor = build.build_sam2_video_predictor(
        OFFICIAL_CONFIGS[name], device="cpu", hydra_overrides_extra=[*overrides]
    )
    predictor.fill_hole_area = 0  # the builder sets 8, of no effect without Meta's CUDA extension
    return predictor


def micro_pair(
    version: str = "sam2.1", object_score_bias: float | None = 5.0, *, optimise: bool = True
) -> tuple[Sam2, Any]:
    """Return our test model and the official one, with equal random weights.

    Args:
        version: `sam2` or `sam2.1`.
        object_score_bias: last bias of the presence head, so that objects count as present; None leaves it random.
        optimise: ours with the backend for CPUs, as users run it there, or plain.

    Raises:
        MissingPeerError: `sam2` is not installed.
    """
    extra = () if version == "sam2.1" else ("model.pointer_time_encoding=false", "model.no_object_memory=false")
    ours = build_model(MICRO, (*MICRO_LIKE_OFFICIAL, *extra))
    make_lively(ours, object_score_bias)
    official = official_predictor(f"{version}_hiera_tiny", _OFFICIAL_MICRO)
    official.load_state_dict(ours.state_dict(), strict=True)
    ours.requires_grad_(False)
    return optimise_for_cpu(ours) if optimise else ours, official.eval()


class OfficialStream:
    """Feed the official video predictor frame by frame, as a camera would.

    The predictor is offline code that loads a whole video: it gets a video of one frame, and then one frame at a time.

    Args:
        predictor: of `official_predictor`.
    """

    def __init__(self, predictor: Any) -> None:
        self.predictor = predictor
        self.state: Any = None
        self.frame = -1

    def step(self, image: Tensor, size: tuple[int, int]) -> Tensor | None:
        """Track all objects into the next frame.

        Args:
            image: (3, S, S), normalised.
            size: height and width of the original frame, px.

        Returns:
            Mask logits (N, H, W); None on the first frame and while there is no object.
        """
        self.frame += 1
        if self.state is None:
            with _frames(image, size):
                self.state = self.predictor.init_state("frames")
            self.state["images"] = [image]
            self.state["num_frames"] = 10**6
            return None
        self.state["images"].append(image)
        if not self.state["obj_ids"]:
            return None
        results = self.predictor.propagate_in_video(self.state, start_frame_idx=self.frame, max_frame_num_to_track=0)
        _, _, logits = next(results)
        results.close()
        return logits[:, 0]

    def prompt(self, object_id: int, **prompt: Any) -> Tensor:
        """Prompt an object on the newest frame; returns its mask logits (H, W)."""
        if "mask" in prompt:
            _, ids, logits = self.predictor.add_new_mask(self.state, self.frame, object_id, **prompt)
        else:
            _, ids, logits = self.predictor.add_new_points_or_box(
                self.state, self.frame, object_id, clear_old_points="box" in prompt, **prompt
            )
        return logits[list(ids).index(object_id), 0]

    def remove(self, object_id: int) -> None:
        """Forget an object."""
        self.predictor.remove_object(self.state, object_id)


@contextmanager
def _frames(image: Tensor, size: tuple[int, int]) -> Any:
    """Replace the official video loader by one frame."""
    module = required("sam2.sam2_video_predictor")
    loader = module.load_video_frames
    module.load_video_frames = lambda **_: ([image], *size)
    try:
        yield
    finally:
        module.load_video_frames = loader
