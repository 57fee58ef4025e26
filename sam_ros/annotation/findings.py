"""Watch tracks frame by frame, and name what looks wrong: bounded, whatever the length of the recording."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from sam_ros.annotation.records import FrameRecord, ObjectRecord

__all__ = ["BINS", "Finding", "Track", "TrackObserver"]

BINS = 600  # of a plot along time, at most
_MOST = 200  # findings that are kept
_APART = 15  # frames between two findings of one object; of nearer ones the worse counts
_LOW_SCORE = 0.5
_JUMP_IOU = 0.3  # of masks on successive frames: below it the track has jumped
_GROWTH = 1.8  # of the area from a frame to the next
_SHORT_GAP = 15  # frames: something that is gone for so short is rather missed than hidden


@dataclass(frozen=True)
class Finding:
    """Something to look at.

    Attributes:
        weight: How much it matters, 0 to 1.
        frame: Where.
        object_id: Whose.
        why: In a few words.
    """

    weight: float
    frame: int
    object_id: int
    why: str


@dataclass
class Track:
    """What is counted of an object.

    Attributes:
        known: Frames on which results say anything of it.
        seen: Frames with a mask.
        first_seen: First of these.
        last_seen: Last of these.
        gaps: Times that it was lost and came back.
        longest_gap: Frames of the longest.
        score_sum: Of its scores, where it has a mask.
        scores: (BINS,) sums of scores along time.
        areas: (BINS,) sums of areas along time, px.
        counts: (BINS,) frames with a mask along time.
    """

    known: int = 0
    seen: int = 0
    first_seen: int = -1
    last_seen: int = -1
    gaps: int = 0
    longest_gap: int = 0
    score_sum: float = 0.0
    scores: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    areas: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    previous: ObjectRecord | None = None  # its newest record with a mask


class TrackObserver:
    """Counts of all tracks, and the findings that weigh most.

    Args:
        frames: Number of frames of the recording.
    """

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.tracks: dict[int, Track] = {}
        self._findings: list[Finding] = []

    def findings(self) -> list[Finding]:
        """Return what looks wrong, the worst first."""
        return sorted(self._findings, key=lambda one: (-one.weight, one.frame, one.object_id))

    def bin_of(self, frame: int) -> int:
        """Return the place of a frame along the time of a plot."""
        return frame * min(BINS, self.frames) // self.frames

    def add(self, record: FrameRecord) -> None:
        """Look at the next frame."""
        for one in record.objects:
            track = self.tracks.setdefault(one.object_id, Track())
            track.known += 1
            if not one.area:
                continue
            self._judge(track, one, record)
            if not track.seen:
                track.first_seen = record.frame
            track.seen += 1
            track.last_seen = record.frame
            track.score_sum += one.quality
            place = self.bin_of(record.frame)
            track.scores[place] += one.quality
            track.areas[place] += one.area
            track.counts[place] += 1
            track.previous = one

    def _judge(self, track: Track, one: ObjectRecord, record: FrameRecord) -> None:
        frame, before = record.frame, track.previous
        if one.quality < _LOW_SCORE:
            self._find(Finding(1 - one.quality / _LOW_SCORE / 2, frame, one.object_id, f"score {one.quality:.2f}"))
        if before is None:
            return
        gap = frame - track.last_seen - 1
        if gap:
            track.gaps += 1
            track.longest_gap = max(track.longest_gap, gap)
            if gap <= _SHORT_GAP:
                text = f"missing on the {gap} frame{'s' if gap > 1 else ''} before"
                self._find(Finding(0.6, frame, one.object_id, text))
            return
        growth = max(one.area, before.area) / min(one.area, before.area)
        overlap = _iou(before, one, record.size)
        if overlap < _JUMP_IOU:
            text = f"jumps: its mask has an IoU of {overlap:.2f} with that of the frame before"
            self._find(Finding(1 - overlap / 2, frame, one.object_id, text))
        elif growth > _GROWTH:
            change = "grows" if one.area > before.area else "shrinks"
            self._find(
                Finding(1 - 0.5 * _GROWTH / growth, frame, one.object_id, f"{change} by a factor of {growth:.1f}")
            )

    def _find(self, finding: Finding) -> None:
        """Keep a finding: of those of one object that are near to each other the worst, and the worst of all."""
        for k in range(len(self._findings) - 1, -1, -1):
            other = self._findings[k]
            if other.object_id == finding.object_id and finding.frame - other.frame < _APART:
                if finding.weight > other.weight:
                    self._findings[k] = finding
                return
        self._findings.append(finding)
        if len(self._findings) > 2 * _MOST:
            self._findings = sorted(self.findings()[:_MOST], key=lambda one: one.frame)


def _iou(one: ObjectRecord, other: ObjectRecord, size: tuple[int, int]) -> float:
    """Return the overlap of two masks, 0 to 1."""
    first, second = ({"size": list(size), "counts": text.encode("ascii")} for text in (one.mask, other.mask))
    return float(coco.iou([first], [second], [0])[0, 0])
