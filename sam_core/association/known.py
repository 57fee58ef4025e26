"""What a stream knows of a concept's tracks on an earlier frame."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sam_core.association.detections import Point
from sam_core.association.overlaps import NO_OBJECT
from sam_core.association.plan import Known
from sam_core.association.tracks import Track
from sam_core.streaming import Frame, ObjectOnFrame, ObjectPhase, ObjectState, Stream
from sam_core.streaming.masks import logits_at


def tracks_on(
    frame: Frame, stream: Stream, tracks: Mapping[int, Track], concept: str, last_seen: Mapping[int, Point]
) -> Known:
    """Return where all objects of a stream are on a frame, or were on the frame nearest in time that shows them.

    Args:
        frame: the frame; it may have left the history.
        stream: the stream.
        tracks: its objects that were found by a concept, by id.
        concept: key of the concept that was searched for.
        last_seen: where objects that are not seen now were seen last.
    """
    infos = {info.object_id: info for info in stream.objects}
    own = [i for i in infos if i in tracks and tracks[i].concept == concept]
    others = [i for i in infos if i not in own]
    lost = {}
    for object_id in own:
        info = infos[object_id]
        unseen = info.state is ObjectState.ABSENT and info.phase is ObjectPhase.SHOWN
        if unseen and frame.mask_of(object_id, stream.mask_threshold) is None:
            lost[object_id] = last_seen.get(object_id)
    return Known(
        tracks=[tracks[i] for i in own],
        masks=_masks(own, frame, stream, lost),
        scores=[_score(i, frame) for i in own],
        lost=lost,
        others=others,
        other_masks=_masks(others, frame, stream, {}),
    )


def last_seen_at(stream: Stream, object_id: int) -> Point | None:
    """Return the centre of the newest mask of an object in the history, in image widths and heights."""
    for frame in reversed(stream.history.frames):
        mask = frame.mask_of(object_id, stream.mask_threshold)
        if mask is not None:
            height, width = mask.image_size
            return mask.centre[0] / width, mask.centre[1] / height
    return None


def _masks(object_ids: list[int], frame: Frame, stream: Stream, lost: Mapping[int, Point | None]) -> Tensor:
    grid = stream.mask_size
    masks = torch.full((len(object_ids), grid, grid), NO_OBJECT, dtype=torch.float32, device=stream.device)
    for row, object_id in enumerate(object_ids):
        known = frame.objects.get(object_id)
        if known is None and object_id not in lost:
            known = _nearest(stream, object_id, frame)
        if known is not None and known.state is ObjectState.TRACKED:
            masks[row] = logits_at(known.shown[None], (grid, grid))[0] - stream.mask_threshold
    return masks


def _nearest(stream: Stream, object_id: int, frame: Frame) -> ObjectOnFrame | None:
    """Return what is known of an object on the frame nearest in time on which it was seen."""
    nearest_first = sorted(stream.history.frames, key=lambda other: abs(other.number - frame.number))
    known = (other.objects.get(object_id) for other in nearest_first)
    return next((one for one in known if one is not None and one.state is ObjectState.TRACKED), None)


def _score(object_id: int, frame: Frame) -> float:
    known = frame.objects.get(object_id)
    return -10.0 if known is None else known.seen.object_score
