"""Join the parts of a long recording: tracks that overlap where two parts meet are one object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pycocotools import mask as coco

from sam_core import Prompt
from sam_ros.annotation.passes import Pass
from sam_ros.annotation.prompts import FramePrompt, ObjectPrompts
from sam_ros.annotation.records import FrameRecord, ObjectRecord, decode_mask
from sam_ros.annotation.results import PassResults
from sam_ros.annotation.store import PassStore

__all__ = ["Joined", "join_parts"]

_SAME = 0.5  # mean mask IoU over the frames that two parts have in common, from which two tracks are one object

Track = Callable[[Pass], PassStore]


@dataclass(frozen=True)
class Joined:
    """Parts that are joined.

    Attributes:
        passes: Which records count; on a frame the first goes before.
        labels: What the objects are called that concepts found, by id.
    """

    passes: tuple[PassResults, ...]
    labels: Mapping[int, str]


def join_parts(parts: Sequence[tuple[Pass, PassStore]], track: Track, *, independent: bool) -> Joined:
    """Give the tracks of all parts common ids.

    A prompted object has its id in every part. Where a part has found something else by memory than what the part
    before ends with, the object is tracked again in that part, from the mask at the cut. Objects that a concept found
    are matched by mask IoU on the frames that two parts have in common; one without a match gets a new id.

    Args:
        parts: Finished, in the order of their frames.
        track: Tracks a pass and returns its store.
        independent: Whether objects can be tracked again one by one; else all prompted ones of a part are.
    """
    first, store = parts[0]
    prompted = [one.object_id for work, _ in parts for one in work.objects]
    summary = store.summary()
    ids = {i: i for i in prompted} | {i: i for i in summary.labels if i not in summary.withdrawn}
    labels = {i: summary.labels[i] for i in ids if i in summary.labels}
    newest = max([first.found_from - 1, *ids])
    ends = [work.start for work, _ in parts[1:]] + [parts[-1][0].stop]
    before: list[PassResults] = [PassResults(store, False, ids, (first.start, ends[0]))]
    chosen = list(before)
    for (work, store), end in zip(parts[1:], ends[1:], strict=True):
        summary = store.summary()
        last = [replace(one, frames=(work.start, work.stop)) for one in before]
        common = _read(last)
        mine = _read([PassResults(store, False, {i: i for i in {*prompted, *summary.labels}}, (work.start, work.stop))])
        ious = _overlaps(common, mine)
        lost = [one for one in work.objects if _is_lost(one.object_id, ious, common)]
        ids = {i: i for i in prompted}
        taken = set()
        for (earlier, found), iou in sorted(ious.items(), key=lambda item: (-item[1], item[0])):
            fits = found in summary.labels and found not in summary.withdrawn and found not in ids
            if fits and iou >= _SAME and earlier in labels and earlier not in taken:
                ids[found] = earlier
                taken.add(earlier)
        for found in sorted(summary.labels):
            if found not in ids and found not in summary.withdrawn:
                newest += 1
                ids[found] = newest
                labels[newest] = summary.labels[found]
        before = []
        if lost:
            again = _from_cut(work, lost if independent else list(work.objects), common)
            repaired = {one.object_id: one.object_id for one in again.objects}
            ids = {i: name for i, name in ids.items() if i not in repaired}
            before.append(PassResults(track(again), False, repaired, (work.start, end)))
        before.append(PassResults(store, False, ids, (work.start, end)))
        chosen += before
    return Joined(tuple(chosen), labels)


def _read(passes: Sequence[PassResults]) -> dict[int, dict[int, tuple[ObjectRecord, FrameRecord]]]:
    """Return the masks on a few frames, by frame and id."""
    table: dict[int, dict[int, tuple[ObjectRecord, FrameRecord]]] = defaultdict(dict)
    for one in passes:
        for record in one.read():
            for item in record.objects:
                if item.area:
                    table[record.frame].setdefault(item.object_id, (item, record))
    return table


Masks = Mapping[int, Mapping[int, tuple[ObjectRecord, FrameRecord]]]


def _overlaps(before: Masks, after: Masks) -> dict[tuple[int, int], float]:
    """Return the mean IoU of each pair of tracks, over the frames on which both have a mask."""
    found: dict[tuple[int, int], list[float]] = defaultdict(list)
    for frame in before.keys() & after.keys():
        names, others = sorted(before[frame]), sorted(after[frame])
        size = list(next(iter(before[frame].values()))[1].size)
        one, other = (
            [{"size": size, "counts": table[i][0].mask.encode("ascii")} for i in keys]
            for table, keys in ((before[frame], names), (after[frame], others))
        )
        ious = np.asarray(coco.iou(one, other, [0] * len(other)))
        for row, i in enumerate(names):
            for column, j in enumerate(others):
                found[i, j].append(float(ious[row, column]))
    return {pair: float(np.mean(values)) for pair, values in found.items()}


def _is_lost(object_id: int, ious: Mapping[tuple[int, int], float], before: Masks) -> bool:
    """Tell whether the part before sees an object at the cut where the next part sees it elsewhere, or not at all."""
    seen = any(object_id in objects for objects in before.values())
    return seen and ious.get((object_id, object_id), 0.0) < _SAME


def _from_cut(work: Pass, lost: Sequence[ObjectPrompts], before: Masks) -> Pass:
    """Return a pass that goes on from the masks with which the part before ends."""
    targets = []
    for target in lost:
        frames = [frame for frame in sorted(before) if target.object_id in before[frame]]
        later = tuple(one for one in target.prompts if one.frame >= work.start)
        if not frames:
            if later:
                targets.append(replace(target, prompts=later, saved=None, digest=""))
            continue
        record, frame = before[frames[0]][target.object_id]
        mask = decode_mask(record.mask, frame.size) > 0
        begin = FramePrompt(frames[0], Prompt(mask=mask))
        rest = tuple(one for one in later if one.frame > frames[0])
        targets.append(replace(target, prompts=(begin, *rest), saved=None, digest=""))
    return replace(work, objects=tuple(targets), concepts=(), shown_first=())
