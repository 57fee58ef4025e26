"""What a search does to the tracks of its concepts: they are confirmed, withdrawn, or leave.

Source: SAM 3 (Carion et al., 2025), video, "hot start" and keep-alive; numbers in `ConceptRules`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from sam_core.association.matching import Match
from sam_core.association.rules import ConceptRules
from sam_core.association.tracks import Track


class Removal(Enum):
    """Why a track ends."""

    UNMATCHED = "the detector did not confirm it"
    DUPLICATE = "an older object has the same detections"
    LEFT = "it was not seen for long"


@dataclass(frozen=True)
class Survey:
    """The tracks after a search.

    Attributes:
        tracks: those that stay, in their order.
        removed: ids of those that end, and why.
        hidden: ids of those that are unmatched for too long, and not shown.
    """

    tracks: tuple[Track, ...]
    removed: Mapping[int, Removal]
    hidden: frozenset[int]


def survey(tracks: Sequence[Track], match: Match, scores: Sequence[float], now: int, rules: ConceptRules) -> Survey:
    """Count what a search says of each track, and decide which ones end.

    Args:
        tracks: M tracks of the concepts that were searched for.
        match: of the search with them.
        scores: of the detections.
        now: number of the search.
        rules: settings.
    """
    position = {i: k for k, i in enumerate(track.object_id for track in tracks)}
    best: dict[int, float] = {}
    for detection, hits in enumerate(match.matched):
        for j in hits:
            best[j] = max(best.get(j, 0.0), scores[detection])
    shared = _shared(tracks, match)
    unmatched, empty = set(match.unmatched), set(match.empty)
    kept, removed, hidden = [], {}, set()
    for j, track in enumerate(tracks):
        alive = track.keep_alive
        if j in best:
            alive = min(rules.keep_alive_most, alive + 1)
        if j in unmatched or (j in empty and rules.empty_counts_as_unmatched):
            alive = max(rules.keep_alive_least, alive - 1)
        tentative = not track.confirmed and track.born > now - rules.hot_start
        track = replace(
            track,
            score=best.get(j, track.score),
            keep_alive=alive,
            confirmed=not tentative,
            unmatched=track.unmatched + (j in unmatched),
            shared=_added(track.shared, shared.get(j, ()), position) if tentative else {},
            not_seen=track.not_seen + 1 if j in empty else 0,
        )
        reason = _removal(track, rules)
        if reason is not None:
            removed[track.object_id] = reason
            continue
        kept.append(track)
        if rules.hide_unmatched and alive <= 0 and track.unmatched:
            hidden.add(track.object_id)
    return Survey(tuple(kept), removed, frozenset(hidden))


def _shared(tracks: Sequence[Track], match: Match) -> dict[int, list[int]]:
    """Return, by position, ids of the older tracks with which a track shares detections, once for each detection."""
    shared: dict[int, list[int]] = {}
    for hits in match.matched:
        if len(hits) < 2:
            continue
        first = min(hits, key=lambda j: tracks[j].born)
        for j in hits:
            if j != first:
                shared.setdefault(j, []).append(tracks[first].object_id)
    return shared


def _added(counts: Mapping[int, int], older: Sequence[int], known: Mapping[int, int]) -> dict[int, int]:
    """Count one search more with each of some older tracks; of tracks that have ended nothing is kept."""
    updated = {i: count for i, count in counts.items() if i in known}
    for i in older:
        updated[i] = updated.get(i, 0) + 1
    return updated


def _removal(track: Track, rules: ConceptRules) -> Removal | None:
    if not track.confirmed:
        if track.unmatched >= rules.hot_start_unmatched:
            return Removal.UNMATCHED
        if any(count >= rules.hot_start_duplicate for count in track.shared.values()):
            return Removal.DUPLICATE
    if rules.leave_after and track.not_seen >= rules.leave_after:
        return Removal.LEFT
    return None
