"""The plan of a search: what each detection is, and what becomes of the concept's tracks. Decisions, and nothing done.

Source: SAM 3 (Carion et al., 2025), video: match, new tracks, hot start, reconditioning; what is ours is marked in
`ConceptRules`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import torch
from torch import Tensor

from sam_core.association.detections import ConceptDetections, Point
from sam_core.association.hot_start import Removal, Survey, survey
from sam_core.association.matching import Match, mask_ious, match
from sam_core.association.rules import ConceptRules
from sam_core.association.tracks import Track


class Association(Enum):
    """What a detected instance is to the tracking."""

    TRACKED = "an object that is tracked already"
    REIDENTIFIED = "an object that was lost"
    NEW = "a new object"
    UNSURE = "nothing: its score is too low to start an object"
    LIMIT_REACHED = "nothing: the concept has as many objects as it may"
    EMPTY = "nothing: its mask is empty"


@dataclass(frozen=True)
class Decision:
    """What was decided about a detection.

    Attributes:
        association: what it is.
        object_id: which object it is; None for a new one that has not begun, and for nothing.
    """

    association: Association
    object_id: int | None = None


@dataclass(frozen=True, eq=False)
class Known:
    """What the tracking knows of a concept's frame.

    Attributes:
        tracks: M tracks of the concept, in the order of their ids.
        masks: (M, h, w) their mask logits on the frame; negative where one was not seen.
        scores: of each the logit of being visible.
        lost: from a track that is not seen any more to where it was seen last, None where that is unknown.
        others: ids of K objects of another origin.
        other_masks: (K, h, w) theirs.
    """

    tracks: Sequence[Track]
    masks: Tensor
    scores: Sequence[float]
    lost: Mapping[int, Point | None] = field(default_factory=dict)
    others: Sequence[int] = ()
    other_masks: Tensor | None = None


@dataclass(frozen=True)
class SearchPlan:
    """What a search changes.

    Attributes:
        decisions: one for each detection.
        births: positions of the detections that start an object.
        twins: from a detection that is no track to the better one that it is the same as.
        reidentified: from a lost object to the detection that it is.
        reconditioned: from an object to the detection that confirms it.
        removed: ids of tracks that end, and why.
        hidden: ids of tracks that are not shown until the next search.
        tracks: the tracks that stay, as they are after the search.
        out_of_places: whether detections start no object because the stream has no room for them.
    """

    decisions: tuple[Decision, ...]
    births: tuple[int, ...]
    twins: Mapping[int, int]
    reidentified: Mapping[int, int]
    reconditioned: Mapping[int, int]
    removed: Mapping[int, Removal]
    hidden: frozenset[int]
    tracks: tuple[Track, ...]
    out_of_places: bool = False


def plan_search(
    found: ConceptDetections, known: Known, rules: ConceptRules, *, now: int, places: int, at_any_score: bool
) -> SearchPlan:
    """Plan a search of one concept.

    Args:
        found: detections that `select` has kept, on the grid of the tracks' masks.
        known: the concept's tracks on the searched frame.
        rules: settings.
        now: number of the search of this concept, from 0.
        places: objects that the stream has room for.
        at_any_score: whether a new track needs no `new_score` (see `ConceptRules.first_at_any_score`).
    """
    scores = found.scores.tolist()
    result = match(found.logits, found.scores, known.masks, rules, at_any_score=at_any_score)
    decisions = [_first_decision(i, result, known.tracks) for i in range(len(found))]
    for i in torch.nonzero(~(found.logits > 0).flatten(1).any(dim=1))[:, 0].tolist() if len(found) else ():
        decisions[i] = Decision(Association.EMPTY)
    if rules.across_concepts:
        _recognise_others(found, known, rules, result, decisions)
    twins = _twins(found, scores, decisions, rules)
    back = _reidentify(found, _lost(known, rules), scores, decisions, twins) if rules.reidentify else {}
    births = [i for i in result.new if decisions[i].association is Association.UNSURE and i not in twins]
    room = places if rules.max_objects is None else min(places, rules.max_objects - len(known.tracks))
    out_of_places = len(births) > room and (rules.max_objects is None or places < rules.max_objects - len(known.tracks))
    if len(births) > room:
        best = sorted(births, key=lambda i: -scores[i])
        for i in best[max(0, room) :]:
            decisions[i] = Decision(Association.LIMIT_REACHED)
        births = best[: max(0, room)]
    for i in births:
        decisions[i] = Decision(Association.NEW)
    after = survey(known.tracks, result, scores, now, rules)
    return SearchPlan(
        decisions=tuple(decisions),
        births=tuple(births),
        twins=twins,
        reidentified=back,
        reconditioned=_reconditioned(result, known, rules, now),
        removed={i: reason for i, reason in after.removed.items() if i not in back},
        hidden=after.hidden,
        tracks=_with_found_again(after, known.tracks, back, scores),
        out_of_places=out_of_places,
    )


def _first_decision(position: int, result: Match, tracks: Sequence[Track]) -> Decision:
    best = result.best[position]
    return Decision(Association.UNSURE) if best is None else Decision(Association.TRACKED, tracks[best].object_id)


def _recognise_others(
    found: ConceptDetections, known: Known, rules: ConceptRules, result: Match, decisions: list[Decision]
) -> None:
    """Take detections on objects of another origin for these."""
    if known.other_masks is None or not len(known.other_masks) or not result.free:
        return
    overlap, nearest = mask_ious(found.logits > 0, known.other_masks > 0).max(dim=1)
    hits, which = (overlap >= rules.match_iou).tolist(), nearest.tolist()
    for i in result.free:
        if hits[i] and decisions[i].association is Association.UNSURE:
            decisions[i] = Decision(Association.TRACKED, known.others[which[i]])


def _twins(
    found: ConceptDetections, scores: Sequence[float], decisions: Sequence[Decision], rules: ConceptRules
) -> dict[int, int]:
    """Unite detections that are nothing yet and overlap; there are none where `select` has suppressed them."""
    free = [i for i in range(len(found)) if decisions[i].association is Association.UNSURE]
    if not rules.nms_iou or len(free) < 2:
        return {}
    close = (mask_ious(found.logits[free] > 0, found.logits[free] > 0) > rules.nms_iou).tolist()
    kept: list[int] = []
    twins: dict[int, int] = {}
    for k in sorted(range(len(free)), key=lambda k: -scores[free[k]]):
        better = next((j for j in kept if close[k][j]), None)
        if better is None:
            kept.append(k)
        else:
            twins[free[k]] = free[better]
    return twins


def _lost(known: Known, rules: ConceptRules) -> dict[int, Point | None]:
    """Return the lost tracks that a detection may stand for, and where they were seen last.

    A track may still be found on the search on which it would leave. Where it does not begin again then, for instance
    because the mask is too small for the network, it leaves on the next one.
    """
    overdue = {t.object_id for t in known.tracks if rules.leave_after and t.not_seen >= rules.leave_after}
    return {i: where for i, where in known.lost.items() if i not in overdue}


def _reidentify(
    found: ConceptDetections,
    lost: dict[int, Point | None],
    scores: Sequence[float],
    decisions: list[Decision],
    twins: Mapping[int, int],
) -> dict[int, int]:
    """Take detections that are nothing yet for lost tracks: the best score first, each for the one last seen nearest.

    Of several that come back on one frame the best score takes the nearest, the next of what is left, which need not be
    the nearest for all: nothing else tells lost siblings apart.
    """
    back: dict[int, int] = {}
    for i in sorted(range(len(found)), key=lambda i: -scores[i]):
        if not lost or decisions[i].association is not Association.UNSURE or i in twins:
            continue
        here = found.centre(i)
        object_id = min(lost, key=lambda other: (_distance(here, lost[other]), other))
        del lost[object_id]
        back[object_id] = i
        decisions[i] = Decision(Association.REIDENTIFIED, object_id)
    return back


def _with_found_again(
    after: Survey, before: Sequence[Track], back: Mapping[int, int], scores: Sequence[float]
) -> tuple[Track, ...]:
    """Return the tracks that stay: those that were found again, too, which count as not seen until they begin again."""
    stay = {track.object_id: track for track in after.tracks}
    for track in before:
        if track.object_id in back:
            known = stay.get(track.object_id, replace(track, not_seen=track.not_seen + 1))
            stay[track.object_id] = replace(known, score=scores[back[track.object_id]])
    return tuple(stay[i] for i in sorted(stay))


def _reconditioned(result: Match, known: Known, rules: ConceptRules, now: int) -> dict[int, int]:
    if not rules.recondition_every or now % rules.recondition_every:
        return {}
    return {
        known.tracks[j].object_id: detection
        for j, detection in result.confident.items()
        if known.scores[j] > rules.recondition_score
    }


def _distance(here: Point, last_seen: Point | None) -> float:
    return math.inf if last_seen is None else math.dist(here, last_seen)
