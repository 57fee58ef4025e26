"""Match the detections of a search with the tracks of the same concept, by mask IoU.

Source: SAM 3 (Carion et al., 2025), video: detections and tracks are matched by mask IoU within each concept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sam_core.association.rules import ConceptRules


@dataclass(frozen=True)
class Match:
    """What N detections are to M tracks; both are named by their positions.

    Attributes:
        new: detections that start a track, in their order.
        free: detections that are no track; `new` is part of them.
        matched: for each detection its tracks, which may be several.
        unmatched: tracks with a mask, but without a detection on it.
        empty: tracks without a mask.
        confident: from a track to the detection that confirms it enough to recondition it.
        best: for each detection the track that it overlaps most, among those matched; None without one.
    """

    new: tuple[int, ...]
    free: tuple[int, ...]
    matched: tuple[tuple[int, ...], ...]
    unmatched: tuple[int, ...]
    empty: tuple[int, ...]
    confident: Mapping[int, int]
    best: tuple[int | None, ...]


def mask_ious(ones: Tensor, others: Tensor) -> Tensor:
    """Return the IoU of each of N masks (N, h, w) bool with each of M masks (M, h, w) bool: (N, M) float32."""
    a, b = ones.flatten(1).float(), others.flatten(1).float()
    both = a @ b.t()
    either = a.sum(dim=1)[:, None] + b.sum(dim=1)[None] - both
    return both / either.clamp(min=1)


def match(detections: Tensor, scores: Tensor, tracks: Tensor, rules: ConceptRules, *, at_any_score: bool) -> Match:
    """Match the detections of a concept with its tracks.

    A detection may be several tracks, and a track several detections: nothing is assigned one to one.

    Args:
        detections: (N, h, w) float mask logits.
        scores: (N,) float32, 0 … 1.
        tracks: (M, h, w) float mask logits on the same grid.
        rules: thresholds.
        at_any_score: whether a detection starts a track without `new_score`.
    """
    count, others = len(detections), len(tracks)
    everything = tuple(range(count))
    if others == 0:
        new = everything if at_any_score else tuple(torch.nonzero(scores >= rules.new_score)[:, 0].tolist())
        return Match(new, everything, ((),) * count, (), (), {}, (None,) * count)
    seen = (tracks > 0).flatten(1).any(dim=1)
    if count == 0:
        present = seen.tolist()
        unmatched = tuple(i for i, here in enumerate(present) if here)
        return Match((), (), (), unmatched, tuple(i for i, here in enumerate(present) if not here), {}, ())
    ious = mask_ious(detections > 0, tracks > 0)
    hits = ious >= rules.match_iou
    free = ~hits.any(dim=1)
    new_ones = free & (scores >= rules.new_score)
    most, nearest = ious.max(dim=1)
    confident = (scores >= rules.recondition_score) & ~new_ones & (most >= rules.recondition_iou)
    lonely = seen & ~(ious >= rules.unmatched_iou).any(dim=0)
    flags = torch.stack((free, new_ones, confident)).tolist()
    on_tracks = torch.stack((seen, lonely)).tolist()
    pairs, closest = hits.tolist(), nearest.tolist()
    matched = tuple(tuple(j for j in range(others) if pairs[i][j]) for i in everything)
    return Match(
        new=tuple(i for i in everything if flags[1][i]),
        free=tuple(i for i in everything if flags[0][i]),
        matched=matched,
        unmatched=tuple(j for j in range(others) if on_tracks[1][j]),
        empty=tuple(j for j in range(others) if not on_tracks[0][j]),
        confident={closest[i]: i for i in everything if flags[2][i]},
        best=tuple(closest[i] if matched[i] else None for i in everything),
    )
