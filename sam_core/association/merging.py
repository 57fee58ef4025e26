"""Put the result of a frame together: what was tracked, what began on it, and without what was removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from sam_core.association.tracks import Track
from sam_core.streaming import FrameResult, ObjectState, Origin, TrackState
from sam_core.streaming.masks import masks_at
from sam_core.streaming.measure import measure_masks


def as_detected(result: FrameResult, logits: Tensor, threshold: float) -> FrameResult:
    """Show one object's mask as it was detected.

    Args:
        result: of a prompt with the detected mask: one object.
        logits: (m, m) of the detection.
        threshold: of the stream.
    """
    if result.low_res.shape[-2:] != logits.shape:
        return result  # postprocessors have made finer masks
    masks = masks_at(logits[None], result.image_size, threshold)
    boxes, areas, centroids = measure_masks(masks)
    (state,) = result.states
    if state is not ObjectState.ABSENT:
        state = ObjectState.TRACKED if int(areas[0]) else ObjectState.NO_MASK
    measured: dict[str, Any] = {"masks": masks, "boxes": boxes, "areas": areas, "centroids": centroids}
    return replace(result, low_res=logits[None], states=(state,), **measured)


def merged(result: FrameResult, changed: Mapping[int, FrameResult], removed: Collection[int]) -> FrameResult:
    """Return a frame's result with other or more objects, and without some.

    Args:
        result: of the step.
        changed: results of one object each, on the same frame, by its id.
        removed: ids of objects to leave out.
    """
    if not changed and not removed:
        return result
    sources = {i: (result, row) for row, i in enumerate(result.object_ids)} | {
        i: (one, 0) for i, one in changed.items()
    }
    rows = [sources[i] for i in sorted(sources) if i not in removed]
    values: dict[str, Any] = {}
    for field in fields(result):
        value = getattr(result, field.name)
        if isinstance(value, Tensor):
            parts = [getattr(one, field.name)[row : row + 1] for one, row in rows]
            values[field.name] = torch.cat(parts) if parts else value[:0]
        elif field.name in ("object_ids", "labels", "states"):
            values[field.name] = tuple(getattr(one, field.name)[row] for one, row in rows)
    statuses = {i: one.statuses[i] for i in sorted(sources) if i not in removed for one in [sources[i][0]]}
    return replace(result, **values, statuses=statuses)


def with_origins(result: FrameResult, tracks: Mapping[int, Track]) -> FrameResult:
    """Return a result that says by what its objects were found, and which of them are tentative."""
    known = {i: tracks[i] for i in result.object_ids if i in tracks}
    tentative = {
        i: replace(result.statuses[i], state=TrackState.TENTATIVE) for i, one in known.items() if not one.confirmed
    }
    return replace(
        result,
        origins={i: Origin(one.concept, one.confirmed, one.score) for i, one in known.items()},
        statuses={**result.statuses, **tentative},
    )
