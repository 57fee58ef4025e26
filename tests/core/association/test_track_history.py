"""Where objects are, and which are lost, on frames with masks drawn by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sam_core.association import (
    KnownObject,
    TrackHistory,
)
from sam_core.sam2 import ImageFeatures
from sam_core.streaming import (
    CroppedMask,
    Frame,
    FrameHistory,
    ObjectInfo,
    ObjectOnFrame,
    ObjectPhase,
    ObjectState,
    Observation,
)
from sam_core.streaming.masks import masks_at
from tests.core.association.drawn import H, W, box


class DrawnStream:
    """Stands in for a stream: a history of frames with masks drawn by hand.

    Args:
        max_frames: bound of the history.
    """

    mask_threshold = 0.0

    def __init__(self, max_frames: int) -> None:
        self.history = FrameHistory(max_frames, max_bytes=2**30)
        self.objects: tuple[ObjectInfo, ...] = ()
        self.frames = 0

    def step(self, masks: dict[int, CroppedMask | None]) -> Frame:
        """Add a frame; None stands for an object that is absent."""
        nothing = torch.zeros(1, 1, 1, 1)
        features = ImageFeatures(nothing, (nothing, nothing), nothing)
        known = {i: self._on_frame(mask) for i, mask in masks.items()}
        frame = Frame(self.frames, self.frames, (H, W), features, objects=known)
        self.history = self.history.pushed(frame)
        self.frames += 1
        self.objects = tuple(self._info(i, known[i].state) for i in masks)
        return frame

    def begin(self, object_id: int) -> None:
        """Begin an object that still has to catch up, so that no frame shows it."""
        self.objects = (*self.objects, self._info(object_id, ObjectState.TRACKED, ObjectPhase.CATCHING_UP))

    def _on_frame(self, mask: CroppedMask | None) -> ObjectOnFrame:
        seen = Observation(self.frames, 0.9, -1.0 if mask is None else 1.0, prompted=False)
        logits = torch.full((4, 6), -1.0)
        return ObjectOnFrame(logits, logits, torch.zeros(1), seen, outline=mask)

    def _info(self, object_id: int, state: ObjectState, phase: ObjectPhase = ObjectPhase.SHOWN) -> ObjectInfo:
        return ObjectInfo(object_id, "", 0, 0, state, 0.9, 0.9, phase)


def known(tracks: TrackHistory, stream: Any, frame: Frame) -> dict[int, KnownObject]:
    return {one.object_id: one for one in tracks.known(stream, frame)}


def observe(tracks: TrackHistory, stream: Any, masks: dict[int, CroppedMask | None]) -> frozenset[str]:
    stream.step(masks)
    return tracks.observe(stream)


def test_a_tracked_object_is_where_it_is_on_the_frame_or_on_the_nearest_with_it() -> None:
    stream, tracks = DrawnStream(9), TrackHistory()
    masks = [box(i, 0, i + 10, 10) for i in range(5)]
    frames = [stream.step({1: mask} if i in (0, 3, 4) else {}) for i, mask in enumerate(masks)]
    where = [known(tracks, stream, frame)[1].mask for frame in frames]
    assert where == [masks[0], masks[0], masks[3], masks[3], masks[4]]
    stream.begin(2)
    assert known(tracks, stream, frames[-1])[2].mask is None


def test_what_became_known_of_a_frame_counts() -> None:
    """The caller may hold a frame from before a prompt on it; the history knows more."""
    stream, tracks = DrawnStream(9), TrackHistory()
    old = stream.step({})
    stream.history = stream.history.with_objects(1, {0: stream._on_frame(box(0, 0, 9, 9))})
    stream.begin(1)
    mask = known(tracks, stream, old)[1].mask
    assert mask is not None
    assert mask.box == (0, 0, 9, 9)


def test_an_object_is_lost_where_it_is_seen_neither_then_nor_now() -> None:
    stream, tracks = DrawnStream(2), TrackHistory()
    observe(tracks, stream, {1: box(0, 0, 9, 9)})
    first = stream.history.frame_at()
    tracks.found(1, "cup", box(0, 0, 9, 9))
    assert not known(tracks, stream, first)[1].lost
    assert observe(tracks, stream, {1: box(3, 3, 9, 9)}) == frozenset()
    assert observe(tracks, stream, {1: None}) == {"cup"}
    now = known(tracks, stream, stream.history.frame_at())[1]
    assert (now.lost, now.concept) == (True, "cup")
    then = known(tracks, stream, first)[1]
    assert (then.lost, then.mask) == (False, first.objects[1].outline), "it was there on that frame"


def test_the_last_mask_of_a_lost_object_outlives_the_history() -> None:
    stream, tracks = DrawnStream(2), TrackHistory()
    observe(tracks, stream, {1: box(0, 0, 9, 9)})
    tracks.found(1, "cup", box(0, 0, 9, 9))
    observe(tracks, stream, {1: box(20, 10, 30, 20)})
    for _ in range(10):
        observe(tracks, stream, {1: None})
        assert len(stream.history) <= 2
    now = known(tracks, stream, stream.history.frame_at())[1]
    assert now.lost
    assert now.mask is not None
    assert now.mask.box == (20, 10, 30, 20), "where it was last, not where it was found"
    tracks.found(1, "cup", box(5, 5, 9, 9))
    again = known(tracks, stream, stream.history.frame_at())[1]
    assert again.mask is not None
    assert again.mask.box == (5, 5, 9, 9)


def test_a_lost_object_is_told_once_by_its_concept() -> None:
    stream, tracks = DrawnStream(2), TrackHistory()
    mask = box(0, 0, 9, 9)
    observe(tracks, stream, {1: mask, 2: mask, 3: mask})
    tracks.found(1, "cup", mask)
    tracks.found(2, "plate", mask)
    assert observe(tracks, stream, {1: mask, 2: None, 3: None}) == {"plate"}, "3 was found by no concept"
    assert observe(tracks, stream, {1: None, 2: None}) == {"cup"}
    assert observe(tracks, stream, {1: None, 2: None}) == frozenset()
    assert observe(tracks, stream, {1: mask, 2: None}) == frozenset()
    assert observe(tracks, stream, {1: None, 2: None}) == {"cup"}, "once for each loss"
    assert observe(tracks, stream, {1: mask, 2: None}) == frozenset()
    assert observe(tracks, stream, {}) == frozenset(), "a removed object is not lost"


def test_an_object_that_is_absent_right_after_its_prompt_is_lost() -> None:
    stream, tracks = DrawnStream(9), TrackHistory()
    observe(tracks, stream, {})
    tracks.found(1, "cup", box(0, 0, 9, 9))
    stream.step({})
    stream.begin(1)
    assert tracks.observe(stream) == frozenset(), "it is still catching up"  # type: ignore[arg-type]
    assert observe(tracks, stream, {1: None}) == {"cup"}


def test_removed_objects_are_forgotten() -> None:
    """So that what is remembered does not grow with the objects of a long run."""
    stream, tracks = DrawnStream(2), TrackHistory()
    for object_id in range(1, 30):
        mask = box(object_id, 0, object_id + 9, 9)
        observe(tracks, stream, {object_id: mask})
        tracks.found(object_id, "cup", mask)
        observe(tracks, stream, {object_id: None})
        assert tracks._concepts.keys() == tracks._last_seen.keys() == {object_id}
    stream.objects = ()
    assert tracks.known(stream, stream.history.frame_at()) == []  # type: ignore[arg-type]
    assert not tracks._concepts
    assert not tracks._last_seen


def test_several_that_are_absent_right_after_they_were_found_are_all_lost() -> None:
    stream, tracks = DrawnStream(9), TrackHistory()
    observe(tracks, stream, {})
    tracks.found(1, "cup", box(0, 0, 9, 9))
    tracks.found(2, "plate", box(9, 9, 20, 20))
    assert observe(tracks, stream, {1: None, 2: None}) == {"cup", "plate"}


def test_where_an_object_of_no_concept_was_is_forgotten_with_it() -> None:
    stream, tracks = DrawnStream(9), TrackHistory()
    observe(tracks, stream, {1: box(0, 0, 9, 9)})
    observe(tracks, stream, {1: None})
    assert tracks._last_seen.keys() == {1}
    observe(tracks, stream, {})
    assert not tracks._last_seen


def test_the_last_mask_is_that_of_the_streams_threshold() -> None:
    stream, tracks = DrawnStream(9), TrackHistory()
    stream.mask_threshold = 0.5
    logits = torch.zeros(4, 6)
    logits[:2, :3] = 2.0
    frame = stream.step({1: box(0, 0, 9, 9)})
    drawn = replace(frame.objects[1], shown=logits, outline=None)
    stream.history = stream.history.with_objects(1, {frame.number: drawn})
    tracks.observe(stream)  # type: ignore[arg-type]
    observe(tracks, stream, {1: None})
    (lost,) = tracks.known(stream, stream.history.frame_at())  # type: ignore[arg-type]
    assert lost.mask is not None
    assert 0 < lost.mask.area < H * W / 2
    np.testing.assert_array_equal(lost.mask.full(), masks_at(logits[None], (H, W), 0.5)[0].numpy())
