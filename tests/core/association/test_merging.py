"""Results put together: what was tracked, what is shown as it was detected, and what is left out."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_core import Prompt, Tracker
from sam_core.association import merged
from sam_core.association.merging import as_detected, with_origins
from sam_core.streaming import FrameResult, ObjectState, Origin, TrackState
from sam_core.streaming.track_state import TrackStatus
from tests.core.association.rectangles import track
from tests.core.pattern import HEIGHT, WIDTH, frame


def prompted(tracker: Tracker) -> FrameResult:
    """Return a real result of one object, on a grid of 32 x 32 places."""
    stream = tracker.open_stream()
    stream.step(frame(0))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:60, 20:80] = True
    return stream.add_prompt(Prompt(mask=mask))


def showing(*object_ids: int, value: float = 0.0) -> FrameResult:
    """Return a result that can be told apart by its values: those of object i are i + `value`."""
    rows = torch.tensor([i + value for i in object_ids])
    return FrameResult(
        frame=5,
        stamp="stamp",
        image_size=(2, 2),
        object_ids=object_ids,
        labels=tuple(f"label {i + value}" for i in object_ids),
        states=tuple(ObjectState.ABSENT if value else ObjectState.TRACKED for _ in object_ids),
        low_res=rows[:, None, None].expand(-1, 2, 2),
        masks=(rows[:, None, None] > 100).expand(-1, 2, 2),
        boxes=rows[:, None].expand(-1, 4),
        areas=rows,
        centroids=rows[:, None].expand(-1, 2),
        predicted_iou=rows,
        presence=rows,
        remarks=("a remark",),
        statuses={i: TrackStatus(stamp=i + value) for i in object_ids},
    )


def rows_of(result: FrameResult) -> list[float]:
    """Return what tells the rows of a result apart, after making sure that all its fields agree on it."""
    rows: list[float] = result.areas.tolist()
    tensors = [value for one in fields(result) if isinstance(value := getattr(result, one.name), Tensor)]
    assert len(tensors) == 7
    for tensor in tensors:
        assert len(tensor) == len(rows)
        values = tensor[..., None].flatten(1)
        if tensor.dtype != torch.bool:
            assert values.tolist() == [[row] * values.shape[1] for row in rows]
    assert result.labels == tuple(f"label {row}" for row in rows)
    assert [status.stamp for status in result.statuses.values()] == rows
    assert list(result.statuses) == list(result.object_ids)
    return rows


# --- A detection's mask -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("logit", "state", "area"), [(-1.0, ObjectState.NO_MASK, 0), (1.0, ObjectState.TRACKED, 1)])
def test_the_state_goes_with_the_mask(micro_tracker: Tracker, logit: float, state: ObjectState, area: int) -> None:
    result = prompted(micro_tracker)
    shown = as_detected(result, torch.full_like(result.low_res[0], logit), 0.0)
    assert shown.states == (state,)
    assert shown.areas.tolist() == [area * HEIGHT * WIDTH]
    absent = replace(result, states=(ObjectState.ABSENT,))
    assert as_detected(absent, torch.full_like(result.low_res[0], logit), 0.0).states == (ObjectState.ABSENT,)


def test_a_detected_mask_is_measured_anew(micro_tracker: Tracker) -> None:
    """The left half of the grid is the left half of the image: 60 x 90 px."""
    result = prompted(micro_tracker)
    logits = torch.full_like(result.low_res[0], -1.0)
    logits[:, :16] = 1.0
    shown = as_detected(result, logits, 0.0)
    torch.testing.assert_close(shown.low_res, logits[None])
    assert (shown.boxes.tolist(), shown.areas.tolist()) == ([[0, 0, 60, 90]], [60 * 90])
    assert shown.centroids.tolist() == [[30.0, 45.0]]
    assert (shown.masks.shape, int(shown.masks[0, :, :60].sum())) == ((1, HEIGHT, WIDTH), 60 * 90)
    assert (shown.object_ids, shown.predicted_iou) == (result.object_ids, result.predicted_iou)
    assert as_detected(result, logits, 2.0).areas.tolist() == [0], "below the stream's threshold"


def test_finer_masks_than_the_detections_stay(micro_tracker: Tracker) -> None:
    result = prompted(micro_tracker)
    assert as_detected(result, torch.ones(7, 7), 0.0) is result


# --- Objects that come and go -----------------------------------------------------------------------------------------


def test_nothing_to_merge_is_the_same_result() -> None:
    result = showing(1, 2)
    assert merged(result, {}, ()) is result


def test_changed_and_new_objects_take_their_places_by_id_and_removed_ones_leave() -> None:
    result = merged(showing(1, 3, 6), {3: showing(3, value=0.5), 4: showing(4, value=0.5)}, {1})
    assert result.object_ids == (3, 4, 6)
    assert rows_of(result) == [3.5, 4.5, 6.0]
    assert result.states == (ObjectState.ABSENT, ObjectState.ABSENT, ObjectState.TRACKED)
    assert (result.frame, result.stamp, result.image_size, result.remarks) == (5, "stamp", (2, 2), ("a remark",))


def test_an_object_that_is_changed_and_removed_is_removed() -> None:
    assert rows_of(merged(showing(1), {1: showing(1, value=0.5), 2: showing(2, value=0.5)}, [1])) == [2.5]


def test_a_frame_of_which_all_objects_are_removed_is_empty() -> None:
    result = merged(showing(1, 2), {}, [1, 2, 99])
    assert (result.object_ids, rows_of(result), result.low_res.shape) == ((), [], (0, 2, 2))


def test_objects_may_begin_on_a_frame_that_shows_none() -> None:
    assert rows_of(merged(showing(), {7: showing(7)}, ())) == [7.0]


# --- Origins ----------------------------------------------------------------------------------------------------------


def test_a_result_says_what_found_its_objects_and_which_are_tentative() -> None:
    tracks = {
        1: track(1, score=0.25, confirmed=True),
        2: track(2, score=0.75, concept="plate"),
        9: track(9),
    }
    result = with_origins(showing(1, 2, 3), tracks)
    assert result.origins == {1: Origin("cup", True, 0.25), 2: Origin("plate", False, 0.75)}
    assert [one.state for one in result.statuses.values()] == [
        TrackState.TRACKED,
        TrackState.TENTATIVE,
        TrackState.TRACKED,
    ]
    assert [one.stamp for one in result.statuses.values()] == [1, 2, 3]
