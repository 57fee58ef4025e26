"""The rules on a frame while it is tracked: search it, plan, resolve overlaps, and say what is shown and remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sam_core.association.detections import ConceptDetections, select
from sam_core.association.overlaps import NO_OBJECT, recently_occluded, shrunk
from sam_core.association.plan import Known, SearchPlan
from sam_core.association.rules import ConceptRules
from sam_core.association.schedule import FollowedConcept
from sam_core.association.specks import clean
from sam_core.association.tracks import Track
from sam_core.streaming import Frame
from sam_core.streaming.arbiter import Ruling
from sam_core.streaming.tracking import Tracked

_PRESENT = 10.0  # logit of being visible with which a mask that is not empty is remembered, as released

# Gives the detections of each phrase, in their order; None where a phrase is not searched for any more.
Detect = Callable[[Frame, tuple[str, ...]], Iterable[ConceptDetections | None]]

Planned = tuple[FollowedConcept, ConceptDetections, SearchPlan]


@dataclass(eq=False)
class FrameSearch:
    """The search of one frame; what becomes of it is noted here.

    Attributes:
        concepts: what is searched for.
        detect: the detector.
        seconds: time that it took, s.
        failed: whether the detector failed.
        problems: why there are no detections, in full sentences.
    """

    concepts: tuple[FollowedConcept, ...]
    detect: Detect | None
    seconds: float = 0.0
    failed: bool = False
    problems: list[str] = field(default_factory=list)

    def run(self, frame: Frame, grid: int, device: torch.device) -> list[tuple[FollowedConcept, ConceptDetections]]:
        """Return the detections that the rules look at; none where the detector fails."""
        if self.detect is None or not self.concepts:
            return []
        began = time.perf_counter()
        found = []
        try:
            everything = self.detect(frame, tuple(concept.phrase for concept in self.concepts))
            for concept, one in zip(self.concepts, everything, strict=True):
                if one is None:
                    continue
                kept = one.taken(select(one, concept.rules).kept)
                found.append((concept, kept.on_grid(grid, device)))
        except Exception as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                torch.cuda.empty_cache()
            self.problems.append(f"the detector failed on this image: {type(error).__name__}: {error}")
            self.failed = True
            found = []
        self.seconds = time.perf_counter() - began
        return found


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the rules say of a frame.

    Attributes:
        ruling: on the stream's objects.
        plans: for each concept that was searched for its detections and their plan.
        last_occluded: for each track that was occluded or suppressed the number of the frame.
        seconds: time of the rules, without the detector's, s.
    """

    ruling: Ruling | None
    plans: tuple[Planned, ...]
    last_occluded: Mapping[int, int]
    seconds: float


def judge(
    search: FrameSearch,
    frame: Frame,
    object_ids: Sequence[int],
    tracked: Tracked | None,
    *,
    tracks: Mapping[int, Track],
    hidden: frozenset[int],
    plan: Callable[[FollowedConcept, ConceptDetections, Known, int], SearchPlan],
    grid: int,
    device: torch.device,
    rules: ConceptRules,
) -> Judgement:
    """Apply the rules to a frame; nothing is changed but the notes of `search`.

    Args:
        search: of the frame.
        frame: the frame.
        object_ids: the stream's objects on it.
        tracked: what the network says of them; None where there are none.
        tracks: those of them that were found by a concept.
        hidden: ids of tracks that are not shown until their next search.
        plan: plans the search of a concept, given how many births were planned before.
        grid: side of the network's masks.
        device: of the stream's tensors.
        rules: what holds on every frame.
    """
    began = time.perf_counter()
    masks, scores = torch.zeros(0, grid, grid, device=device), []
    if tracked is not None:
        masks, scores = tracked.low_res[:, 0].clone(), tracked.score[:, 0].tolist()
    rows = [row for row, object_id in enumerate(object_ids) if object_id in tracks]
    masks[rows] = clean(masks[rows], rules.fill_hole_area)
    plans: list[Planned] = []
    births = 0
    for concept, found in search.run(frame, grid, device):
        known = _known(concept.key, object_ids, masks, scores, tracks)
        planned = plan(concept, found, known, births)
        births += len(planned.births)
        hidden = (hidden - {track.object_id for track in known.tracks}) | planned.hidden
        plans.append((concept, found, planned))
    ruling: Ruling | None = None
    occluded: dict[int, int] = {}
    if tracked is not None:
        ruling, occluded = _ruling(masks, scores, rows, object_ids, tracks, hidden, plans, frame.number, rules)
    seconds = time.perf_counter() - began - search.seconds
    return Judgement(ruling, tuple(plans), occluded, seconds)


def _known(
    key: str, object_ids: Sequence[int], masks: Tensor, scores: Sequence[float], tracks: Mapping[int, Track]
) -> Known:
    own = [row for row, i in enumerate(object_ids) if i in tracks and tracks[i].concept == key]
    others = [row for row in range(len(object_ids)) if row not in own]
    return Known(
        tracks=[tracks[object_ids[row]] for row in own],
        masks=masks[own],
        scores=[scores[row] for row in own],
        lost=dict.fromkeys(object_ids[row] for row in own if scores[row] <= 0),
        others=[object_ids[row] for row in others],
        other_masks=masks[others],
    )


def _ruling(
    masks: Tensor,
    scores: Sequence[float],
    rows: Sequence[int],
    object_ids: Sequence[int],
    tracks: Mapping[int, Track],
    hidden: frozenset[int],
    plans: Sequence[Planned],
    frame: int,
    rules: ConceptRules,
) -> tuple[Ruling, dict[int, int]]:
    """Resolve overlaps of the tracks, which are rows of all masks (B, m, m); `masks` becomes what is shown."""
    own = [tracks[object_ids[row]] for row in rows]
    numbers = {key: n for n, key in enumerate(dict.fromkeys(track.concept for track in own))}
    concepts = [numbers[track.concept] for track in own]
    occluded: dict[int, int] = {}
    gone = [False] * len(own)
    if rules.overlap_iou and own:
        seen = masks[rows] > 0
        gives_way = recently_occluded(seen, [track.last_occluded for track in own], concepts, rules.overlap_iou)
        empty = ~seen.flatten(1).any(dim=1)
        gone, without = torch.stack((gives_way, gives_way | empty)).tolist()
        occluded = {track.object_id: frame for track, is_so in zip(own, without, strict=True) if is_so}
        masks[[row for row, is_so in zip(rows, gone, strict=True) if is_so]] = NO_OBJECT
    remembered = masks.clone()
    confirmed = set()
    for concept, found, planned in plans:
        for object_id, detection in planned.reconditioned.items():
            row = object_ids.index(object_id)
            if concept.rules.recondition_mask == "detection":
                remembered[row] = (found.logits[detection] >= 0.5).float()
            masks[row] = found.logits[detection]
            confirmed.add(row)
    remembered[rows] = shrunk(remembered[rows], concepts, rules.least_share)
    present = (remembered[rows] > 0).flatten(1).any(dim=1).tolist()
    remembered_as, suppressed = list(scores), [object_id in hidden for object_id in object_ids]
    for row, is_there, is_gone in zip(rows, present, gone, strict=True):
        remembered_as[row] = _PRESENT if is_there else -_PRESENT
        suppressed[row] |= is_gone and row not in confirmed  # what the detector sees just now is shown
    masks[[row for row, is_hidden in enumerate(suppressed) if is_hidden]] = NO_OBJECT
    return Ruling(masks, remembered, tuple(remembered_as), tuple(suppressed)), occluded
