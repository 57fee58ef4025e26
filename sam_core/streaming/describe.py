"""From masks to a frame's result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from sam_core.streaming.history import Frame
from sam_core.streaming.masks import masks_at
from sam_core.streaming.measure import measure_masks
from sam_core.streaming.memory import Observation
from sam_core.streaming.network import TrackingNetwork
from sam_core.streaming.objects import TrackedObject, state_of
from sam_core.streaming.postprocessing import ObjectMasks
from sam_core.streaming.result import FrameResult
from sam_core.streaming.track_state import TrackStatus
from sam_core.streaming.tracking import Tracked


def frame_result(
    frame: Frame, objects: Sequence[TrackedObject], tracked: Tracked, seen: Sequence[Observation], shown: ObjectMasks
) -> FrameResult:
    """Describe N objects on a frame.

    Args:
        frame: the frame.
        objects: the objects.
        tracked: what the network says of them.
        seen: the scores.
        shown: the masks to show.
    """
    masks = masks_at(shown.logits, frame.size, shown.threshold)
    boxes, areas, centroids = measure_masks(masks)
    empty = (areas == 0).tolist()  # here the caller waits for the masks
    return FrameResult(
        frame=frame.number,
        stamp=frame.stamp,
        image_size=frame.size,
        object_ids=tuple(o.object_id for o in objects),
        labels=tuple(o.label for o in objects),
        states=tuple(state_of(*facts) for facts in zip(seen, shown.suppressed, empty, strict=True)),
        low_res=shown.logits,
        masks=masks,
        boxes=boxes,
        areas=areas,
        centroids=centroids,
        predicted_iou=tracked.iou.float(),
        presence=shown.scores.float().sigmoid(),
    )


def empty_result(frame: Frame, network: TrackingNetwork, threshold: float) -> FrameResult:
    """Describe a frame without objects."""
    side, device = network.mask_size, network.device
    none = torch.zeros(0, dtype=torch.float32, device=device)
    tracked = Tracked(none.new_zeros(0, 1, side, side), none, none[:, None], none[:, None])
    return frame_result(frame, [], tracked, (), ObjectMasks(tracked.low_res[:, 0], none, (), frame.size, threshold))


def with_statuses(result: FrameResult, statuses: Sequence[TrackStatus]) -> FrameResult:
    """Return a result that says how the tracks of its N objects stand over time."""
    return replace(result, statuses=dict(zip(result.object_ids, statuses, strict=True)))
