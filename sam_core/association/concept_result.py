"""What a frame with concepts comes to: the objects on it, and what the rules decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sam_core.association.hot_start import Removal
from sam_core.association.tracks import Track
from sam_core.streaming import FrameResult


@dataclass(frozen=True, eq=False)
class ConceptResult:
    """A frame with its tracks.

    Attributes:
        result: the objects on the frame, new ones included, removed ones left out.
        tracks: what the rules know of those that were found by a concept, by id.
        born: ids of tracks that began on this frame.
        reidentified: ids of tracks that were lost before and found by this frame's search.
        removed: ids of tracks that ended on it, or since the frame before, and why.
        reconditioned: ids of tracks that got a conditioning memory.
        lost: keys of concepts of which an object was seen before and is not any more.
        searched: phrases that were searched for in this step.
        search_failed: whether the detector failed, so that nothing was searched.
        problems: why detections are not tracked or not there, in full sentences.
        detection_seconds: time of the detector in this step, s.
        association_seconds: time of the rules in this step, s; prompts of new objects included.
    """

    result: FrameResult
    tracks: Mapping[int, Track]
    born: tuple[int, ...] = ()
    reidentified: tuple[int, ...] = ()
    removed: Mapping[int, Removal] = field(default_factory=dict)
    reconditioned: tuple[int, ...] = ()
    lost: frozenset[str] = frozenset()
    searched: tuple[str, ...] = ()
    search_failed: bool = False
    problems: tuple[str, ...] = ()
    detection_seconds: float = 0.0
    association_seconds: float = 0.0
