"""The rules of `transformers`' `Sam3VideoModel` without its networks: detections and masks come from a script.

Two things of that port differ from the published code, and are put right here so that the rules can be compared:

- On a frame on which an object is removed, `build_outputs` pairs the ids that are left with the masks of all.
- When objects begin, `_tracker_add_new_objects` tracks the others a second time and overwrites their memory.

Its non-maximum suppression and its connected components come from a hub at run time; `kernels` stands in for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Sam3VideoConfig
from transformers.models.sam3_video import modeling_sam3_video as port
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession, Sam3VideoModel

from sam_core.association import ConceptRules

__all__ = ["ScriptedSam3Video", "TrackedSam3Video", "kernels", "settings_of"]


def settings_of(rules: ConceptRules, *, streaming: bool) -> dict[str, Any]:
    """Return the rules under the names of the port."""
    return {
        "score_threshold_detection": rules.score_threshold,
        "det_nms_thresh": rules.nms_iou,
        "assoc_iou_thresh": rules.match_iou,
        "trk_assoc_iou_thresh": rules.unmatched_iou,
        "new_det_thresh": rules.new_score,
        "recondition_on_trk_masks": rules.recondition_mask == "track",
        "hotstart_delay": 15 if streaming else rules.hot_start,  # streaming withdraws nothing, as with a hot start of 0
        "hotstart_unmatch_thresh": rules.hot_start_unmatched,
        "hotstart_dup_thresh": rules.hot_start_duplicate,
        "suppress_unmatched_only_within_hotstart": not rules.hide_unmatched,
        "init_trk_keep_alive": rules.keep_alive_start,
        "max_trk_keep_alive": rules.keep_alive_most,
        "min_trk_keep_alive": rules.keep_alive_least,
        "decrease_trk_keep_alive_for_empty_masklets": rules.empty_counts_as_unmatched,
        "suppress_overlapping_based_on_recent_occlusion_threshold": rules.overlap_iou,
        "fill_hole_area": rules.fill_hole_area,
        "recondition_every_nth_frame": rules.recondition_every,
        "high_conf_thresh": rules.recondition_score,
        "high_iou_thresh": rules.recondition_iou,
    }


@contextmanager
def kernels(available: bool) -> Iterator[None]:
    """Give the port its non-maximum suppression and connected components, or keep them from it."""
    before = port.cv_utils_kernel
    port.cv_utils_kernel = SimpleNamespace(generic_nms=_nms, cc_2d=_components) if available else False
    try:
        yield
    finally:
        port.cv_utils_kernel = before


def _nms(ious: Tensor, scores: Tensor, threshold: float, use_iou_matrix: bool) -> Tensor:
    assert use_iou_matrix
    kept: list[int] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if all(ious[i, j] <= threshold for j in kept):
            kept.append(i)
    return torch.tensor(kept, dtype=torch.long)


def _components(masks: Tensor, get_counts: bool) -> tuple[Tensor, Tensor]:
    assert get_counts
    labels, counts = np.zeros(masks.shape, np.int32), np.zeros(masks.shape, np.int32)
    for index in np.ndindex(*masks.shape[:2]):
        _, found, stats, _ = cv2.connectedComponentsWithStats(masks[index].numpy(), connectivity=8)
        labels[index] = found
        counts[index] = stats[:, cv2.CC_STAT_AREA][found]
    return torch.from_numpy(labels), torch.from_numpy(counts)


class ScriptedSam3Video(Sam3VideoModel):
    """The model's rules on a script.

    Args:
        settings: of `Sam3VideoConfig`, by name.
        phrases: how many are searched for.
        detections: from a frame's number and a phrase's to scores (N,) and mask logits (N, h, w).
        tracks: from a frame's number, an object's id and the frame and the mask (h, w) of its beginning to its mask
            logits (h, w) and its logit of being visible.
        grid: side of the masks.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        phrases: int,
        detections: Callable[[int, int], tuple[Tensor, Tensor]],
        tracks: Callable[[int, int, int, Tensor], tuple[Tensor, float]],
        grid: int,
    ) -> None:
        nn.Module.__init__(self)
        config = Sam3VideoConfig(**settings)
        for name in (*settings, "max_num_objects"):
            setattr(self, name, getattr(config, name))
        self.low_res_mask_size = grid
        self.config = config
        self.detector_model = SimpleNamespace(get_vision_features=lambda pixel_values: None)
        self.session = Sam3VideoInferenceSession(dtype=torch.float32)
        self.session.prompts = {i: str(i) for i in range(phrases)}
        self._detections, self._tracks = detections, tracks
        self._births: dict[int, tuple[int, Tensor]] = {}
        self._present: list[int] = []
        self.remembered: dict[int, tuple[Tensor, float]] = {}  # id -> what the memory encoder saw on the newest frame
        self.plan: dict[str, Any] = {}

    def step(self, number: int, *, streaming: bool, frame: Tensor | None = None) -> Any:
        """Process a frame (3, S, S), which a script does not look at; returns the model's output."""
        self.remembered = {}
        frame = torch.zeros(3, 1, 1) if frame is None else frame
        if streaming:
            return self(inference_session=self.session, frame_idx=number, frame=frame)
        self.session.processed_frames = {number: frame}
        return self(inference_session=self.session, frame_idx=number)

    def run_detection(self, inference_session: Any, vision_embeds: Any) -> dict[int, dict[str, Tensor]]:
        """Return the script's detections, thresholded as the port does."""
        (number,) = [max(inference_session.processed_frames)]
        found = {}
        for phrase in inference_session.prompts:
            scores, masks = self._detections(number, phrase)
            keep = scores > self.score_threshold_detection
            if self.det_nms_thresh > 0:
                keep = port.nms_masks(scores, masks, self.score_threshold_detection, self.det_nms_thresh)
            found[phrase] = {"bbox": torch.zeros(len(scores), 4)[keep], "mask": masks[keep], "scores": scores[keep]}
        return found

    def get_vision_features_for_tracker(self, vision_embeds: Any) -> tuple[list[Tensor], list[Tensor]]:
        """Return nothing that is looked at."""
        return [torch.zeros(1, 1, 1)], [torch.zeros(1, 1, 1)]

    def run_tracker_propagation(self, inference_session: Any, frame_idx: int, reverse: bool) -> tuple[Tensor, Tensor]:
        """Return the script's masks of the objects."""
        self._present = list(inference_session.obj_ids)
        masks = torch.zeros(len(self._present), self.low_res_mask_size, self.low_res_mask_size)
        scores = torch.zeros(len(self._present))
        for row, object_id in enumerate(self._present):
            masks[row], scores[row] = self._tracks(frame_idx, object_id, *self._births[object_id])
            outputs = inference_session.output_dict_per_obj[inference_session.obj_id_to_idx(object_id)]
            outputs["non_cond_frame_outputs"] = {frame_idx: {}}
            outputs["cond_frame_outputs"] = {}
        if len(masks):
            masks = port.fill_holes_in_mask_scores(masks[:, None], max_area=self.fill_hole_area)[:, 0]
        return masks, scores

    def run_memory_encoder(
        self, inference_session: Any, frame_idx: int, high_res_masks: Tensor, object_score_logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Note what would be remembered."""
        for object_id, mask, score in zip(self._present, high_res_masks[:, 0], object_score_logits, strict=True):
            self.remembered[object_id] = (mask.clone(), float(score))
        return torch.zeros(1, len(high_res_masks)), torch.zeros(1, len(high_res_masks))

    def run_tracker_update_planning_phase(self, **arguments: Any) -> Any:
        """Plan, and keep the plan."""
        plan, metadata = super().run_tracker_update_planning_phase(**arguments)
        self.plan = plan
        return plan, metadata

    def _tracker_add_new_objects(
        self,
        inference_session: Any,
        frame_idx: int,
        new_obj_ids: Sequence[int],
        new_obj_masks: Tensor,
        reverse: bool = False,
    ) -> None:
        for object_id, mask in zip(new_obj_ids, new_obj_masks, strict=True):
            inference_session.obj_id_to_idx(object_id)
            self._births[object_id] = (frame_idx, mask >= 0.5)

    def build_outputs(self, inference_session: Any, **arguments: Any) -> dict[int, Tensor]:
        """Return the masks that are shown, each with its own id."""
        left, inference_session.obj_ids = inference_session.obj_ids, self._present
        outputs = super().build_outputs(inference_session=inference_session, **arguments)
        inference_session.obj_ids = left
        gone = arguments["tracker_update_plan"]["obj_ids_newly_removed"]
        return {object_id: mask[0] for object_id, mask in outputs.items() if object_id not in gone}


class _EndlessSession(Sam3VideoInferenceSession):
    """A session of so many frames that object pointers reach as far back as in a live stream."""

    @property
    def num_frames(self) -> int:
        """Count the frames."""
        return 10**6


class TrackedSam3Video(ScriptedSam3Video):
    """The model with its real tracker and memories, and detections of a script.

    Args:
        settings: of `Sam3VideoConfig`, by name.
        tracker: the port of SAM 3's tracker, with weights.
        detector: has what is found on the newest frame, as `found`.
        grid: side of the masks.
    """

    def __init__(self, settings: dict[str, Any], tracker: Any, detector: Any, grid: int) -> None:
        super().__init__(settings, 2, lambda _, phrase: detector.found[phrase], None, grid)  # type: ignore[arg-type]
        phrases, self.session = self.session.prompts, _EndlessSession(dtype=torch.float32)
        self.session.prompts = phrases
        self.session.obj_with_new_inputs = []
        self.tracker_model = tracker
        self._image: Tensor | None = None
        self.detector_model = SimpleNamespace(get_vision_features=self._keep)

    def _keep(self, pixel_values: Tensor) -> None:
        self._image = pixel_values

    def get_vision_features_for_tracker(self, vision_embeds: Any) -> tuple[list[Tensor], list[Tensor]]:
        """Return the features of the newest frame."""
        features = self.tracker_model.get_image_features(self._image, return_dict=True)
        return features.fpn_hidden_states, features.fpn_position_encoding

    def run_tracker_propagation(self, inference_session: Any, frame_idx: int, reverse: bool) -> tuple[Tensor, Tensor]:
        """Track the objects with the real tracker."""
        self._present = list(inference_session.obj_ids)
        if not self._present:
            return torch.zeros(0, self.low_res_mask_size, self.low_res_mask_size), torch.zeros(0)
        return Sam3VideoModel.run_tracker_propagation(self, inference_session, frame_idx, reverse)

    def run_memory_encoder(
        self, inference_session: Any, frame_idx: int, high_res_masks: Tensor, object_score_logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Make memories."""
        cached = inference_session.cache.get_vision_features(frame_idx)["vision_feats"][-1]
        return self.tracker_model._encode_new_memory(
            current_vision_feats=cached.expand(-1, len(high_res_masks), -1),
            pred_masks_high_res=high_res_masks,
            object_score_logits=object_score_logits,
            is_mask_from_pts=False,
        )

    def _tracker_add_new_objects(
        self,
        inference_session: Any,
        frame_idx: int,
        new_obj_ids: Sequence[int],
        new_obj_masks: Tensor,
        reverse: bool = False,
    ) -> None:
        """Begin objects without touching the others, with masks at the input's size, as published."""
        side = self.tracker_model.image_size
        for object_id, mask in zip(new_obj_ids, new_obj_masks, strict=True):
            index = inference_session.obj_id_to_idx(object_id)
            full = F.interpolate(mask[None, None], size=(side, side), mode="bilinear", align_corners=False) > 0
            out = self.tracker_model._run_single_frame_inference(
                inference_session=inference_session,
                obj_idx=index,
                frame_idx=frame_idx,
                batch_size=1,
                is_init_cond_frame=True,
                point_inputs=None,
                mask_inputs=full.float(),
                reverse=False,
            )
            inference_session.store_output(index, frame_idx, output_value=out, is_conditioning_frame=True)
            self.tracker_model._batch_encode_memories(
                inference_session, frame_idx, [index], [out["high_res_masks"]], [out["object_score_logits"]], [True]
            )
