"""Frames and their history as values: what a stamp, a number and a pixel mean, and which frames are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sam_core import NoFrameError, StampError
from sam_core.sam2.features import ImageFeatures
from sam_core.streaming import CroppedMask, ObjectState
from sam_core.streaming.clicks import Clicks
from sam_core.streaming.global_motion import Movement
from sam_core.streaming.history import Frame, FrameHistory, ObjectOnFrame, frame_bytes
from sam_core.streaming.memory import Observation

SIZE = (4, 8)  # of the images, (H, W) px
BYTES = 4 * (16 + 8 + 4)  # of a frame's features: float32


def features(*, trunk: bool = False) -> ImageFeatures:
    skips = (torch.zeros(1, 2, 2, 2), torch.zeros(1, 1, 2, 2))
    map_of_trunk = torch.zeros(1, 1, 3, 3) if trunk else None
    return ImageFeatures(torch.zeros(1, 4, 2, 2), skips, torch.zeros(1, 99, 2, 2), map_of_trunk)


def frame(number: int, stamp: Any = None, **more: Any) -> Frame:
    return Frame(**{"number": number, "stamp": stamp, "size": SIZE, "features": features(), **more})


def seen(logits: torch.Tensor, score: float = 5.0, **more: Any) -> ObjectOnFrame:
    return ObjectOnFrame(logits, logits, torch.zeros(3), Observation(0, 0.5, score, prompted=False), **more)


def left(logit: float) -> torch.Tensor:
    """Return logits (4, 8) of a mask that is the left half of the image."""
    logits = torch.full(SIZE, -1.0)
    logits[:, :4] = logit
    return logits


def history(*frames: Frame, **more: Any) -> FrameHistory:
    return FrameHistory(**{"max_frames": 99, "max_bytes": 2**30, **more, "frames": frames})


def stamped(*stamps: Any, **more: Any) -> FrameHistory:
    return history(*(frame(number, stamp) for number, stamp in enumerate(stamps)), **more)


def numbers(kept: FrameHistory) -> list[int]:
    return [one.number for one in kept.frames]


# --- What is on a frame -----------------------------------------------------------------------------------------------


def test_an_objects_mask_is_there_where_it_is_seen_and_not_empty() -> None:
    objects = {1: seen(left(5.0)), 2: seen(left(5.0), -5.0), 3: seen(left(-1.0)), 4: seen(left(5.0), suppressed=True)}
    one = frame(0, objects=objects)
    assert [getattr(one.mask_of(i, 0.0), "box", None) for i in range(6)] == [None, (0, 0, 4, 4), None, None, None, None]
    assert one.mask_of(1, 5.0) is None, "no logit is above the threshold"
    assert [one.objects[i].state for i in (1, 2, 4)] == [ObjectState.TRACKED, ObjectState.ABSENT, ObjectState.ABSENT]


def test_a_detectors_mask_is_known_better_than_by_the_logits() -> None:
    outline = CroppedMask.of(left(5.0).numpy() < 0)
    assert frame(0, objects={1: seen(left(5.0), outline=outline)}).mask_of(1, 0.0) is outline
    assert frame(0, objects={1: seen(left(5.0), -5.0, outline=outline)}).mask_of(1, 0.0) is None


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (1.0, 1.0, 2),
        (3.9, 3.9, 2),
        (4.0, 1.0, None),
        (7.5, 1.0, None),
        (-3.0, -3.0, 2),  # at most 4 px outside: its border is meant
        (11.0, 1.0, None),
        (-4.5, 1.0, None),
        (float("nan"), 1.0, None),
        (1.0, float("inf"), None),
    ],
)
def test_a_point_means_the_object_of_the_highest_logit_there(x: float, y: float, expected: int | None) -> None:
    objects = {1: seen(left(3.0)), 2: seen(left(5.0)), 3: seen(left(4.0))}
    assert frame(0, objects=objects).object_at(x, y, 0.0) == expected


def test_a_point_hits_what_is_above_the_threshold() -> None:
    one = frame(0, objects={1: seen(left(3.0))})
    assert (one.object_at(1, 1, 2.9), one.object_at(1, 1, 3.0)) == (1, None)


def test_the_column_comes_first_and_rows_are_counted_downwards() -> None:
    logits = torch.full(SIZE, -1.0)
    logits[3, 6] = 5.0
    one = frame(0, objects={1: seen(logits)})
    assert (one.object_at(6.5, 3.5, 0.0), one.object_at(3.5, 6.5, 0.0)) == (1, None)


def test_a_frame_counts_the_bytes_of_everything_that_it_holds() -> None:
    plain = frame(0)
    assert plain.nbytes == BYTES, "the encoding of the grid is shared"
    assert replace(plain, features=features(trunk=True)).nbytes == BYTES + 36
    assert replace(plain, image=torch.zeros(3, 4, 4)).nbytes == BYTES + 192
    assert replace(plain, picture=np.zeros((4, 8, 3), np.uint8)).nbytes == BYTES + 96
    assert replace(plain, picture=torch.zeros(4, 8, 3, dtype=torch.uint8)).nbytes == BYTES + 96
    assert replace(plain, movement=Movement(torch.zeros(2, 2, dtype=torch.complex64))).nbytes == BYTES + 32
    same, finer = seen(left(1.0)), replace(seen(left(1.0)), shown=torch.zeros(8, 16))
    assert replace(plain, objects={1: same}).nbytes == BYTES + 128 + 12
    assert replace(plain, objects={1: same, 2: finer}).nbytes == BYTES + 2 * (128 + 12) + 512


def test_the_bytes_of_features_are_told_in_advance() -> None:
    assert frame_bytes(((4, 2, 2), (2, 2, 2), (1, 2, 2)), torch.float32) == BYTES
    assert frame_bytes(((4, 2, 2),), torch.bfloat16) == 32


def test_the_trunks_map_can_be_let_go() -> None:
    with_trunk, plain = frame(0, features=features(trunk=True)), frame(0)
    assert with_trunk.without_trunk().features.trunk is None
    assert with_trunk.without_trunk().features.embedding is with_trunk.features.embedding
    assert plain.without_trunk() is plain


def test_what_was_not_said_of_a_frame_or_an_object_is_none() -> None:
    plain, known = frame(0), seen(left(1.0))
    facts = (plain.image, plain.picture, plain.source, plain.movement, plain.run, dict(plain.objects))
    assert facts == (None, None, None, None, 0, {})
    assert (known.suppressed, known.empty, known.clicks, known.outline) == (False, False, None, None)
    assert Clicks().as_points()[0].shape == (0, 2)


# --- Numbers and stamps -----------------------------------------------------------------------------------------------


def test_a_frame_is_found_by_its_number() -> None:
    kept = history(frame(5), frame(6), frame(7))
    assert [getattr(kept.numbered(n), "number", None) for n in (4, 5, 6, 7, 8, -1, 0)] == [None, 5, 6, 7] + [None] * 3
    assert history().numbered(0) is None
    assert (len(kept), kept.oldest, kept.newest) == (3, kept.frames[0], kept.frames[2])
    assert (len(history()), history().oldest, history().newest) == (0, None, None)
    assert kept.nbytes == 3 * BYTES


def test_no_stamp_means_the_newest_frame() -> None:
    assert stamped(10, 20).frame_at().number == 1
    with pytest.raises(NoFrameError, match=r"^There is no frame yet to apply a prompt to\.$"):
        stamped().frame_at(3)


@pytest.mark.parametrize(
    ("stamp", "tolerance", "number"),
    [(20, None, 1), (23, None, 1), (17, None, 1), (25, 5, 2), (15, 5, 1), (24, 9, 1), (29, 1, 2), (31, 1, 2)],
)
def test_a_stamp_means_the_nearest_frame_within_the_tolerance(stamp: int, tolerance: Any, number: int) -> None:
    assert stamped(10, 20, 30, stamp_tolerance=3).frame_at(stamp, tolerance).number == number


def test_of_equal_stamps_the_newest_frame_is_meant() -> None:
    assert stamped(10, 10, 10).frame_at(10).number == 2


@pytest.mark.parametrize(("stamp", "tolerance"), [(24, None), (6, None), (21, 0), (float("nan"), 99), ("noon", 99)])
def test_a_stamp_that_no_frame_has_is_refused_or_means_the_newest_if_asked(stamp: Any, tolerance: Any) -> None:
    kept = stamped(10, 20, stamp_tolerance=3)
    with pytest.raises(
        StampError, match=rf"^No frame of stamp {stamp} is at hand: the oldest is of 10, the newest of 20"
    ):
        kept.frame_at(stamp, tolerance)
    assert kept.frame_at(stamp, tolerance, or_newest=True).number == 1


def test_without_a_tolerance_a_stamp_must_be_exact() -> None:
    assert stamped(10, 20).frame_at(20).number == 1
    with pytest.raises(StampError):
        stamped(10, 20).frame_at(20.001)


def test_stamps_may_be_fractions_and_the_tolerance_with_them() -> None:
    kept = stamped(1.0, 1.5, stamp_tolerance=0.25)
    assert [kept.frame_at(stamp).number for stamp in (0.75, 1.125, 1.375, 1.75)] == [0, 0, 1, 1]


def test_stamps_may_be_anything_that_is_equal_to_itself() -> None:
    kept = stamped("morning", (1, 2), None, "noon")
    assert [kept.frame_at(stamp).number for stamp in ("morning", (1, 2), "noon")] == [0, 1, 3]
    arrays = stamped(np.array([1, 2]), 7)
    assert arrays.frame_at(7).number == 1
    with pytest.raises(StampError):
        arrays.frame_at(np.array([1, 3]))


@pytest.mark.parametrize(
    ("stamp", "run"), [(31, 0), (30, 0), (29, 1), ("noon", 0), (None, 0), (float("nan"), 0), (torch.ones(2), 0)]
)
def test_a_stamp_that_goes_back_begins_a_new_run(stamp: Any, run: int) -> None:
    assert stamped(10, 20, 30).run_of(stamp) == run
    assert history(frame(0, 30, run=4)).run_of(stamp) == 4 + run
    assert stamped().run_of(stamp) == 0


def test_a_run_hides_those_before_it_for_the_stamps_in_which_it_lies() -> None:
    """Stamps 10 to 40, then again 10 to 30: 40 has not come again; 15 lies in the second run, near its 10."""
    first, second = zip(range(4), (10, 20, 30, 40), strict=True), zip(range(4, 7), (10, 21, 30), strict=True)
    kept = history(*(frame(n, s) for n, s in first), *(frame(n, s, run=1) for n, s in second), stamp_tolerance=3)
    meant = {stamp: kept.frame_at(stamp).number for stamp in (10, 20, 30, 40, 8)}
    assert meant == {10: 4, 20: 5, 30: 6, 40: 3, 8: 4}
    with pytest.raises(StampError):
        kept.frame_at(15)


# --- What is kept -----------------------------------------------------------------------------------------------------


def pushed(count: int, *, needed_from: int | None = None, **bounds: int) -> list[int]:
    kept = history(**bounds)
    for number in range(count):
        kept = kept.pushed(frame(number), needed_from)
    return numbers(kept)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"max_frames": 3}, [2, 3, 4]),
        ({"max_frames": 1}, [4]),
        ({"max_bytes": 2 * BYTES}, [3, 4]),
        ({"max_bytes": 3 * BYTES - 1}, [3, 4]),
        ({"max_bytes": BYTES}, [4]),
        ({"max_bytes": 0}, [4]),  # at least one
        ({"max_frames": 4, "max_bytes": 3 * BYTES}, [2, 3, 4]),
    ],
)
def test_the_newest_frames_are_kept_within_both_bounds(bounds: dict[str, int], expected: list[int]) -> None:
    assert pushed(5, **bounds) == expected


def test_a_frame_that_is_still_needed_stays_beyond_the_bounds() -> None:
    assert pushed(5, needed_from=1, max_frames=2) == [1, 2, 3, 4]
    assert pushed(5, needed_from=3, max_frames=2) == [3, 4]
    assert pushed(5, needed_from=4, max_frames=2) == [3, 4], "those within the bounds stay, needed or not"


def test_the_first_frame_that_stays_is_known_before_the_next_one_comes() -> None:
    assert history().first_kept() == 0
    for bounds, expected in (({"max_frames": 3}, 3), ({"max_frames": 4}, 2), ({"max_bytes": 2 * BYTES}, 4)):
        kept = history(*map(frame, range(2, 5)), **bounds)
        assert kept.first_kept() == expected
        assert numbers(kept.pushed(frame(5)))[0] == expected


def test_only_the_newest_frame_has_the_trunks_map() -> None:
    kept = history()
    for number in range(3):
        kept = kept.pushed(frame(number, features=features(trunk=True)))
    assert [one.features.trunk is not None for one in kept.frames] == [False, False, True]


def test_pictures_come_and_go() -> None:
    picture = np.zeros((4, 8, 3), np.uint8)
    kept = history(frame(0), frame(1, picture=picture), frame(2, picture=picture, features=features(trunk=True)))
    assert numbers(kept.with_pictures()) == [1, 2]
    without = kept.without_pictures()
    assert numbers(without) == [0, 1, 2]
    assert all(one.picture is None and one.features.trunk is None for one in without.frames)


def test_what_is_known_of_an_object_is_put_on_the_frames_that_are_named() -> None:
    one, other = seen(left(1.0)), seen(left(2.0))
    kept = history(*map(frame, range(5, 8))).with_objects(1, {5: one, 7: one}).with_objects(2, {7: other, 9: other})
    known: list[Mapping[int, ObjectOnFrame]] = [dict(each.objects) for each in kept.frames]
    assert known == [{1: one}, {}, {1: one, 2: other}]
    assert [dict(each.objects) for each in kept.with_objects(1, {7: other}).frames][2] == {1: other, 2: other}
    assert [dict(each.objects) for each in kept.without(1).frames] == [{}, {}, {2: other}]
    assert kept.without(3).frames[2] is kept.frames[2]
