"""`transformers`' port of SAM 3's tracker as the reference: on our weights, fed frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.reference.peers import required
from benchmarks.reference.sam3 import reference_config
from benchmarks.reference.sharing import give_weights
from benchmarks.reference.weights import make_lively
from sam_core.backends.cpu import optimise_for_cpu
from sam_core.build import build_model
from sam_core.configuration import load_config
from sam_core.sam3.tracker import Sam3Tracker
from sam_core.sam3.tracker_names import tracker_part

__all__ = ["LIKE_REFERENCE", "ReferenceStream", "reference_tracker_config", "toy_pair"]

# The test model, with the width of memories that the reference has as a constant.
LIKE_REFERENCE = ("sizes.channels=128", "tracker.memory_encoder.memory_dim=64")
_PROMPT_LOGIT_BOUND = 32.0  # as Meta's predictor clamps an earlier mask that goes back in


def reference_tracker_config(name: str, overrides: Sequence[str] = ()) -> Any:
    """Translate one of our configurations into the reference's `Sam3TrackerVideoConfig`.

    Args:
        name: stem of a file in `config/models`.
        overrides: Hydra overrides.
    """
    module = required("transformers.models.sam3_tracker_video.configuration_sam3_tracker_video")
    config = load_config("models", name, overrides)
    tracker, size = config.tracker, config.sizes.image_size
    width, memory = tracker.d_model, tracker.memory_encoder.memory_dim
    decoder, attention = tracker.mask_decoder, tracker.memory_attention
    patch = config.model.backbone.vision_backbone.trunk.patch_size
    return module.Sam3TrackerVideoConfig(
        image_size=size,
        vision_config=reference_config(name, list(overrides)).vision_config.to_dict(),
        prompt_encoder_config={"hidden_size": width, "image_size": size, "patch_size": patch},
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": decoder.mlp_dim,
            "num_attention_heads": decoder.num_heads,
            "iou_head_hidden_dim": decoder.iou_head_hidden_dim,
        },
        num_maskmem=tracker.num_memories,
        memory_attention_hidden_size=width,
        memory_attention_num_layers=attention.num_layers,
        memory_attention_feed_forward_hidden_size=attention.feedforward_dim,
        memory_encoder_hidden_size=width,
        memory_encoder_output_channels=memory,
        mask_downsampler_embed_dim=width,
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=4 * width,
    )


def toy_pair(
    object_score_bias: float | None = 5.0, *, optimise: bool = True, overrides: Sequence[str] = LIKE_REFERENCE
) -> tuple[Sam3Tracker, Any]:
    """Return our test tracker and the reference, with equal random weights.

    Args:
        object_score_bias: last bias of the presence head, so that objects count as present; None leaves it random.
        optimise: ours with the backend for CPUs, as users run it there, or plain.
        overrides: Hydra overrides of `sam3_toy`.

    Raises:
        MissingPeerError: `transformers` is not installed.
    """
    module = required("transformers.models.sam3_tracker_video.modeling_sam3_tracker_video")
    reference = module.Sam3TrackerVideoModel(reference_tracker_config("sam3_toy", overrides)).eval()
    ours = build_model("sam3_toy", overrides)
    assert isinstance(ours, Sam3Tracker)
    make_lively(ours, object_score_bias)
    give_weights(ours.state_dict(), reference, lambda state: tracker_part(state)[0])
    ours.requires_grad_(False)
    return (optimise_for_cpu(ours) if optimise else ours), reference


class ReferenceStream:
    """Feed the reference frame by frame, each object for itself.

    The port tracks objects one by one, too, but encodes the memories of a frame at once, and binarises all masks if one
    of them answers a prompt; it leaves out that an earlier mask of the frame goes back in with a click; and it attends
    to the pointers of all conditioning frames, but to the memories of four. So prompts are put to its parts here, of
    which the port's `forward` consists, and conditioning frames beyond the four are deleted.

    Args:
        model: of `toy_pair`.
        corrections_are_conditioning: store the frame of a correction as a conditioning frame.
    """

    def __init__(self, model: Any, *, corrections_are_conditioning: bool = False) -> None:
        module = required("transformers.models.sam3_tracker_video.modeling_sam3_tracker_video")
        self.model = model
        places = ("inference_device", "inference_state_device", "video_storage_device")
        self.session = module.Sam3TrackerVideoInferenceSession(
            dtype=torch.float32, **dict.fromkeys(places, model.device)
        )
        self.frame = -1
        self._conditioning = corrections_are_conditioning

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
            points: (K, 2) in px of the input; they add to those given on this frame before.
            labels: (K,), 2 and 3 for a box's corners.
            mask: (S, S) of 0 and 1; it replaces points.

        Returns:
            Its mask logits (m, m).
        """
        session, frame = self.session, self.frame
        index = session.obj_id_to_idx(object_id)
        begins = frame not in session.frames_tracked_per_obj[index]
        inputs = previous = None
        earlier = session.point_inputs_per_obj[index]
        if mask is not None:
            earlier.pop(frame, None)
        else:
            given = {"point_coords": points[None, None], "point_labels": labels[None, None]}  # type: ignore[index]
            if frame in earlier:
                given = {key: torch.cat((earlier[frame][key], value), dim=2) for key, value in given.items()}
            inputs = earlier[frame] = given
            outputs = session.output_dict_per_obj[index]
            for kind in ("cond_frame_outputs", "non_cond_frame_outputs"):
                if frame in outputs[kind]:
                    previous = outputs[kind][frame]["pred_masks"].clamp(-_PROMPT_LOGIT_BOUND, _PROMPT_LOGIT_BOUND)
                    if not begins:  # a second click does not attend to the memory that the first one left
                        del outputs[kind][frame]
        out = self.model._run_single_frame_inference(
            inference_session=session,
            obj_idx=index,
            frame_idx=frame,
            batch_size=1,
            is_init_cond_frame=begins,
            point_inputs=inputs,
            mask_inputs=None if mask is None else mask.float()[None, None],
            reverse=False,
            prev_sam_mask_logits=previous,
            streaming=True,
        )
        conditioning = begins or self._conditioning
        if conditioning:
            session.output_dict_per_obj[index]["non_cond_frame_outputs"].pop(frame, None)
        session.store_output(index, frame, output_value=out, is_conditioning_frame=conditioning)
        frames = session.output_dict_per_obj[index]["cond_frame_outputs"]
        if len(frames) > self.model.config.max_cond_frame_num:
            del frames[min(frames)]
        self.model._batch_encode_memories(
            session, frame, [index], [out["high_res_masks"]], [out["object_score_logits"]], [True]
        )
        return out["pred_masks"][0, 0]
