"""What a stream knows of its objects on an earlier frame, with a history that is written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sam_core import Stream, Tracker
from sam_core.association.known import last_seen_at, tracks_on
from sam_core.streaming import Frame, ObjectState
from sam_core.streaming.history import FrameHistory, ObjectOnFrame
from sam_core.streaming.memory import MemoryIndex, Observation
from sam_core.streaming.objects import ObjectVersion, TrackedObject
from sam_core.streaming.state import StreamState
from tests.core.association.drawn import box as outline_of
from tests.core.association.rectangles import track

SIDE = 32  # of the network's masks
SIZE = (64, 128)  # of the images, (H, W) px: a place of the grid is 2 px high and 4 px wide
VISIBLE, HIDDEN = 5.0, -3.0  # logits of being visible
TRACKS = {1: track(1), 2: track(2, concept="plate"), 4: track(4)}


def area(x_min: int, y_min: int, x_max: int, y_max: int, side: int = SIDE) -> Tensor:
    logits = torch.full((side, side), -4.0)
    logits[y_min:y_max, x_min:x_max] = 4.0
    return logits


LEFT, RIGHT = area(4, 8, 12, 16), area(20, 8, 28, 16)


def seen(mask: Tensor, score: float = VISIBLE, **more: Any) -> ObjectOnFrame:
    return ObjectOnFrame(mask, mask, torch.zeros(1), Observation(0, 0.5, score, prompted=False), **more)


def frame(number: int, **objects: ObjectOnFrame) -> Frame:
    """Return a frame with what is known of objects, by the name `of_<id>`."""
    features: Any = None
    known = {int(name.removeprefix("of_")): one for name, one in objects.items()}
    return Frame(number=number, stamp=number, size=SIZE, features=features, objects=known)


def standing(object_id: int, score: float = VISIBLE, **more: Any) -> TrackedObject:
    last = Observation(9, 0.5, score, prompted=False)
    return TrackedObject(object_id, "", **{"shown": ObjectVersion(0, MemoryIndex.empty(1, 1, 1), 0, last), **more})


def behind(object_id: int) -> TrackedObject:
    """Return an object that is not shown yet, of which the newest thing known is that it was not seen."""
    late = standing(object_id, HIDDEN)
    return replace(late, shown=None, upcoming=late.shown)


@pytest.fixture
def stream(micro_tracker: Tracker) -> Stream:
    return micro_tracker.open_stream(max_objects=4)


def put(stream: Stream, frames: list[Frame], *objects: TrackedObject) -> None:
    history = FrameHistory(36, 2**30, frames=tuple(frames))
    stream._state = StreamState(history, {one.object_id: one for one in objects})


def test_objects_are_a_concepts_tracks_or_of_another_origin(stream: Stream) -> None:
    now = frame(9, of_1=seen(LEFT), of_2=seen(RIGHT, 2.0), of_3=seen(RIGHT), of_4=seen(RIGHT, 1.0))
    put(stream, [now], *map(standing, (1, 2, 3, 4)))
    known = tracks_on(now, stream, TRACKS, "cup", {})
    assert (known.tracks, known.others, dict(known.lost)) == ([TRACKS[1], TRACKS[4]], [2, 3], {})
    assert known.scores == [5.0, 1.0]
    torch.testing.assert_close(known.masks, torch.stack((LEFT, RIGHT)))
    torch.testing.assert_close(known.other_masks, torch.stack((RIGHT, RIGHT)))
    assert tracks_on(now, stream, TRACKS, "plate", {}).others == [1, 3, 4]


def test_a_mask_is_what_results_show_above_the_threshold(stream: Stream) -> None:
    """Postprocessors may have made finer masks than the network's."""
    shown = replace(seen(LEFT), shown=area(8, 16, 24, 32, 2 * SIDE))
    now = frame(9, of_1=shown)
    put(stream, [now], standing(1))
    stream.mask_threshold = 1.5
    (mask,) = tracks_on(now, stream, TRACKS, "cup", {}).masks
    torch.testing.assert_close(mask, area(4, 8, 12, 16) - 1.5)


def test_on_a_frame_before_it_was_known_an_object_is_where_it_was_seen_nearest_in_time(stream: Stream) -> None:
    """Of frames as near the earlier one counts, and those do not on which it was not seen."""
    frames = [
        frame(2, of_1=seen(LEFT)),
        frame(3, of_1=seen(area(0, 0, 3, 3), HIDDEN)),
        frame(4),
        frame(5, of_1=seen(area(0, 0, 3, 3), empty=True)),
        frame(6, of_1=seen(RIGHT)),
    ]
    put(stream, frames, standing(1))
    known = tracks_on(frames[2], stream, TRACKS, "cup", {})
    torch.testing.assert_close(known.masks[0], LEFT)
    assert known.scores == [-10.0]
    later = tracks_on(replace(frames[2], number=5), stream, TRACKS, "cup", {})
    torch.testing.assert_close(later.masks[0], RIGHT)
    put(stream, frames, standing(3))
    torch.testing.assert_close(
        tracks_on(frames[0], stream, TRACKS, "cup", {}).other_masks, torch.full((1, 32, 32), -10.0)
    )


def test_an_object_that_was_not_seen_on_the_frame_has_no_mask_there_whatever_was_before(stream: Stream) -> None:
    frames = [frame(2, of_1=seen(LEFT)), frame(3, of_1=seen(LEFT, HIDDEN))]
    put(stream, frames, standing(1))
    known = tracks_on(frames[1], stream, TRACKS, "cup", {})
    assert (known.masks.min(), known.masks.max(), known.scores) == (-10.0, -10.0, [HIDDEN])
    assert dict(known.lost) == {}, "it is seen now"


def test_a_track_that_is_not_seen_now_is_lost_with_the_place_where_it_was_seen_last(stream: Stream) -> None:
    frames = [frame(2, of_1=seen(LEFT), of_4=seen(LEFT)), frame(3, of_1=seen(LEFT, HIDDEN))]
    put(stream, frames, standing(1, HIDDEN), standing(3, HIDDEN), standing(4, HIDDEN))
    known = tracks_on(frames[1], stream, TRACKS, "cup", {1: (0.25, 0.5)})
    assert dict(known.lost) == {1: (0.25, 0.5), 4: None}
    assert known.masks.max() == -10.0, "no mask of another frame stands for a lost one"


def test_where_the_frame_itself_shows_it_a_track_is_not_lost_there(stream: Stream) -> None:
    frames = [frame(2, of_1=seen(LEFT)), frame(3, of_1=seen(LEFT, HIDDEN))]
    put(stream, frames, standing(1, HIDDEN))
    known = tracks_on(frames[0], stream, TRACKS, "cup", {1: (0.25, 0.5)})
    assert dict(known.lost) == {}
    torch.testing.assert_close(known.masks[0], LEFT)
    stream.mask_threshold = 9.0
    assert dict(tracks_on(frames[0], stream, TRACKS, "cup", {}).lost) == {1: None}, "no pixel is above the threshold"


def test_a_track_that_catches_up_is_not_lost(stream: Stream) -> None:
    put(stream, [frame(3)], behind(1))
    assert stream.objects[0].state is ObjectState.ABSENT
    assert dict(tracks_on(frame(3), stream, TRACKS, "cup", {}).lost) == {}


def test_the_last_place_is_the_centre_of_the_newest_mask(stream: Stream) -> None:
    """Columns 20 to 28 and rows 8 to 16 of 32."""
    frames = [
        frame(1, of_1=seen(LEFT)),
        frame(2, of_1=seen(RIGHT)),
        frame(3, of_1=seen(LEFT, HIDDEN)),
        frame(4, of_1=seen(torch.full((SIDE, SIDE), -4.0))),
    ]
    put(stream, frames, standing(1))
    assert last_seen_at(stream, 1) == (24 / 32, 12 / 32)
    assert last_seen_at(stream, 2) is None
    outline = outline_of(96, 8, 128, 24, SIZE)
    put(stream, [*frames, frame(5, of_1=seen(LEFT, outline=outline))], standing(1))
    assert last_seen_at(stream, 1) == (112 / 128, 16 / 64)
    stream.mask_threshold = 9.0
    put(stream, frames, standing(1))
    assert last_seen_at(stream, 1) is None
