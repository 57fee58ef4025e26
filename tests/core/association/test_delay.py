"""Results that are held back, and what becomes of objects that are withdrawn meanwhile."""

from __future__ import annotations

import pytest
import torch

from sam_core.association import ConceptResult, Delay, Removal
from sam_core.streaming import FrameResult, ObjectState
from tests.core.association.rectangles import track


def seen(number: int, *object_ids: int, removed: tuple[int, ...] = (), born: tuple[int, ...] = ()) -> ConceptResult:
    """Return the result of a frame that shows some objects, all of them tracks."""
    count = len(object_ids)
    result = FrameResult(
        frame=number,
        stamp=number,
        image_size=(2, 2),
        object_ids=object_ids,
        labels=("",) * count,
        states=(ObjectState.TRACKED,) * count,
        low_res=torch.zeros(count, 2, 2),
        masks=torch.zeros(count, 2, 2, dtype=torch.bool),
        boxes=torch.zeros(count, 4),
        areas=torch.zeros(count),
        centroids=torch.zeros(count, 2),
        predicted_iou=torch.zeros(count),
        presence=torch.zeros(count),
        statuses={i: f"status of {i}" for i in object_ids},  # type: ignore[misc]
    )
    gone = dict.fromkeys(removed, Removal.UNMATCHED)
    return ConceptResult(result, {i: track(i) for i in object_ids}, born=born, removed=gone)


@pytest.mark.parametrize(
    ("frames", "out"),
    [
        (3, [None, None, 0, 1, 2]),
        (2, [None, 0, 1, 2, 3]),
        (1, [0, 1, 2, 3, 4]),
        (0, [0, 1, 2, 3, 4]),
        (-5, [0, 1, 2, 3, 4]),
    ],
)
def test_results_come_out_so_many_frames_later_with_what_came_with_them(frames: int, out: list[int | None]) -> None:
    delay: Delay[str] = Delay(frames)
    for number, expected in enumerate(out):
        given = delay.push(seen(number), f"image {number}")
        assert (given and (given[0].result.frame, given[1])) == (
            None if expected is None else (expected, f"image {expected}")
        )
        assert len(delay) == min(number + 1, max(0, frames - 1))
    assert [result.result.frame for result, _ in delay.flush()] == list(range(5 - max(0, frames - 1), 5))
    assert len(delay) == 0


def test_what_is_withdrawn_later_was_never_there() -> None:
    delay: Delay[None] = Delay(9)
    delay.push(seen(0, 1, 2, born=(1, 2)), None)
    delay.push(seen(1, 1, 2, 3, born=(3,)), None)
    delay.push(seen(2, 1, 3, removed=(2,)), None)
    first, second, third = (held for held, _ in delay.flush())
    assert [one.result.object_ids for one in (first, second, third)] == [(1,), (1, 3), (1, 3)]
    assert [list(one.tracks) for one in (first, second, third)] == [[1], [1, 3], [1, 3]]
    assert [one.born for one in (first, second, third)] == [(1,), (3,), ()]
    assert list(first.result.statuses) == [1]
    assert list(third.removed) == [2], "and when it ended is told"
