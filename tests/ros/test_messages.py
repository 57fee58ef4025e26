from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from sam_msgs.msg import TrackedObject
from std_msgs.msg import Header

from sam_core import FrameResult, ObjectInfo, ObjectState, TrackState
from sam_core.streaming import Origin
from sam_core.streaming.masks import logits_at_pixels
from sam_core.streaming.track_state import TrackStatus
from sam_ros.conversions.colours import colour_of
from sam_ros.conversions.messages import (
    Masks,
    detections_message,
    label_image,
    label_image_message,
    label_info_message,
    objects_message,
    summary_message,
)
from sam_ros.conversions.overlay import draw_overlay
from sam_ros.conversions.stamps import stamp_of, to_time

HEADER = Header(stamp=Time(sec=12, nanosec=34), frame_id="camera")


def frame_result() -> FrameResult:
    """Make three objects in a picture of 6 x 8 px: a rectangle, another that overlaps it, and an absent one."""
    logits = torch.full((3, 6, 8), -5.0)
    logits[0, 1:4, 2:6] = 1.0
    logits[1, 3:5, 4:8] = 2.0
    logits[1, 3, 4] = 0.5  # here the first object is surer
    return FrameResult(
        frame=41,
        stamp=12 * 10**9 + 34,
        image_size=(6, 8),
        object_ids=(3, 7, 9),
        labels=("cup", "", "dog"),
        states=(ObjectState.TRACKED, ObjectState.TRACKED, ObjectState.ABSENT),
        low_res=logits,
        masks=logits > 0,
        boxes=torch.tensor([[2, 1, 6, 4], [4, 3, 8, 5], [0, 0, 0, 0]]),
        areas=torch.tensor([12, 8, 0]),
        centroids=torch.tensor([[3.5, 2.0], [5.5, 3.5], [math.nan, math.nan]]),
        predicted_iou=torch.tensor([0.5, 0.75, 0.25]),
        presence=torch.tensor([1.0, 0.5, 0.0]),
    )


@pytest.fixture
def masks() -> Masks:
    return Masks.of(frame_result())


def test_objects_hold_everything_that_is_known(masks: Masks) -> None:
    message = objects_message(masks, HEADER)
    assert message.header == HEADER
    assert message.sequence == 41
    first, second, third = message.objects
    assert (first.id, first.label, first.state) == (3, "cup", TrackedObject.TRACKED)
    assert (first.box.x_offset, first.box.y_offset, first.box.width, first.box.height) == (2, 1, 4, 3)
    assert (first.predicted_iou, first.presence, first.area) == (0.5, 1.0, 12)
    assert (first.centroid_x, first.centroid_y) == (3.5, 2.0)
    assert (first.mask.encoding, first.mask.width, first.mask.height, first.mask.step) == ("mono8", 4, 3, 4)
    assert first.mask.header == HEADER
    assert bytes(first.mask.data) == b"\xff" * 12
    assert (second.id, second.label, second.area) == (7, "", 8)
    assert (third.state, third.area, third.box.width, third.mask.width) == (TrackedObject.ABSENT, 0, 0, 0)
    assert math.isnan(third.centroid_x)


def test_an_object_that_is_seen_without_a_mask_says_so() -> None:
    result = replace(frame_result(), states=(ObjectState.TRACKED, ObjectState.TRACKED, ObjectState.NO_MASK))
    third = objects_message(Masks.of(result), HEADER).objects[2]
    assert (third.state, third.area, third.mask.width) == (TrackedObject.NO_MASK, 0, 0)


def test_objects_say_which_concept_found_them_and_how_sure_that_is() -> None:
    origins = {3: Origin("yellow cup", confirmed=False, score=0.75), 9: Origin("dog", confirmed=True, score=0.5)}
    message = objects_message(Masks.of(replace(frame_result(), origins=origins)), HEADER)
    assert [(one.concept, one.confirmation, one.detection_score) for one in message.objects] == [
        ("yellow cup", TrackedObject.TENTATIVE, 0.75),
        ("", TrackedObject.PROMPTED, 0.0),
        ("dog", TrackedObject.CONFIRMED, 0.5),
    ]


def test_what_the_messages_need_is_fetched_in_one_piece(masks: Masks) -> None:
    result = masks.result
    for crop, mask, (x1, y1, x2, y2) in zip(masks.crops, result.masks.numpy(), masks.boxes, strict=True):
        np.testing.assert_array_equal(crop, mask[y1:y2, x1:x2])
        assert crop.dtype == bool
    first, second, _ = masks.crops
    assert first.base is not None
    assert first.base is second.base, "views of what one transfer brought"
    assert masks.scores == (0.5, 0.375, 0.0)
    rows = {name: getattr(result, name)[:0] for name in ("low_res", "masks", "boxes", "areas", "centroids")}
    nothing = replace(
        result, object_ids=(), labels=(), states=(), **rows, predicted_iou=rows["areas"] / 1, presence=rows["areas"] / 1
    )
    assert objects_message(Masks.of(nothing), HEADER).objects == []
    assert not label_image(Masks.of(nothing)).any()


def test_masks_can_be_left_out(masks: Masks) -> None:
    message = objects_message(masks, HEADER, with_masks=False)
    assert all(len(item.mask.data) == 0 for item in message.objects)
    assert message.objects[0].area == 12


def test_detections_are_the_visible_objects(masks: Masks) -> None:
    message = detections_message(masks, HEADER)
    assert message.header == HEADER
    assert [(d.id, d.results[0].hypothesis.class_id) for d in message.detections] == [("3", "cup"), ("7", "object")]
    box = message.detections[0].bbox
    assert (box.center.position.x, box.center.position.y, box.size_x, box.size_y) == (4.0, 2.5, 4.0, 3.0)
    assert message.detections[1].results[0].hypothesis.score == 0.375
    assert message.detections[1].header == HEADER


def test_the_label_image_holds_ids_and_the_surer_object_wins(masks: Masks) -> None:
    expected = np.array(
        [
            [0, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 3, 3, 3, 3, 0, 0],
            [0, 0, 3, 3, 3, 3, 0, 0],
            [0, 0, 3, 3, 3, 7, 7, 7],
            [0, 0, 0, 0, 7, 7, 7, 7],
            [0, 0, 0, 0, 0, 0, 0, 0],
        ]
    )
    np.testing.assert_array_equal(label_image(masks), expected)
    message = label_image_message(masks, HEADER)
    assert (message.header, message.encoding, message.step) == (HEADER, "mono16", 16)
    np.testing.assert_array_equal(np.frombuffer(message.data, np.uint16).reshape(6, 8), expected)


def test_masks_apart_need_no_logits_in_the_label_image() -> None:
    result = frame_result()
    apart = replace(
        result, masks=result.masks & (torch.arange(8) < 4), boxes=torch.tensor([[2, 1, 4, 4], [0] * 4, [0] * 4])
    )
    labels = label_image(Masks.of(apart))
    assert (labels == 3).sum() == 6
    assert "mask_logits" not in vars(apart), "they were not made"


def test_logits_at_pixels_are_those_of_the_whole_image() -> None:
    generator = torch.Generator().manual_seed(3)
    low_res = torch.randn(3, 16, 16, generator=generator)
    result = replace(frame_result(), image_size=(37, 53), low_res=low_res)
    ys, xs = np.mgrid[:37, :53]
    logits = logits_at_pixels(result.low_res, result.image_size, ys.ravel(), xs.ravel())
    np.testing.assert_allclose(logits.reshape(3, 37, 53), result.mask_logits.numpy(), atol=1e-5)


def test_label_info_says_that_values_are_object_ids() -> None:
    message = label_info_message(((3, "cup"), (7, ""), (70000, "does not fit")), HEADER, 0.0)
    assert message.header == HEADER
    assert message.threshold == 0.5, "a probability, not the logit 0"
    assert label_info_message((), HEADER, -32.0).threshold == pytest.approx(1.3e-14, rel=0.1)
    assert {c.class_id: c.class_name for c in message.class_map} == {0: "background", 3: "object 3: cup", 7: "object 7"}


def test_summary() -> None:
    info = ObjectInfo(
        object_id=3,
        label="cup",
        first_frame=5,
        frames_behind=0,
        state=ObjectState.ABSENT,
        predicted_iou=0.25,
        presence=0.125,
    )
    message = summary_message(info)
    assert (message.id, message.label, message.state) == (3, "cup", TrackedObject.ABSENT)
    assert (message.predicted_iou, message.presence) == (0.25, 0.125)


def test_stamps_survive_the_way_there_and_back() -> None:
    stamp = 1_795_245_845_999_999_999
    assert stamp_of(Header(stamp=to_time(stamp))) == stamp


def test_the_overlay_tints_the_objects_and_leaves_the_rest() -> None:
    result = frame_result()
    logits = result.low_res.repeat_interleave(20, 1).repeat_interleave(20, 2)
    big = replace(result, image_size=(120, 160), low_res=logits, masks=logits > 0, boxes=result.boxes * 20)
    image = np.full((120, 160, 3), (10, 20, 30), np.uint8)
    overlay = draw_overlay(image, Masks.of(big))
    assert overlay.shape == image.shape
    assert (image == (10, 20, 30)).all(), "the input is left as it is"
    np.testing.assert_array_equal(overlay[115, 5], [30, 20, 10])  # background, as BGR
    tinted = overlay[50, 70].astype(int)  # inside object 3 only
    np.testing.assert_allclose(tinted, np.array([30, 20, 10]) * 0.55 + np.array(colour_of(3)) * 0.45, atol=1)


def test_colours_stay_with_the_id_and_differ() -> None:
    colours = [colour_of(i) for i in range(1, 17)]
    assert len(set(colours)) == 16
    assert colours == [colour_of(i) for i in range(1, 17)]


def test_objects_say_how_their_tracks_stand() -> None:
    statuses = {
        3: TrackStatus(TrackState.OCCLUDED, last_seen=11 * 10**9 + 5),
        7: TrackStatus(TrackState.LOST),
    }
    first, second, third = objects_message(Masks.of(replace(frame_result(), statuses=statuses)), HEADER).objects
    assert (first.track_state, first.last_seen) == (TrackedObject.TRACK_OCCLUDED, Time(sec=11, nanosec=5))
    assert (second.track_state, second.last_seen) == (TrackedObject.TRACK_LOST, Time()), "never seen"
    assert (third.track_state, third.last_seen) == (TrackedObject().track_state, Time()), "nothing is known"
    named = {
        TrackState.TENTATIVE: TrackedObject.TRACK_TENTATIVE,
        TrackState.TRACKED: TrackedObject.TRACK_TRACKED,
    }
    for state, number in named.items():
        masks = Masks.of(replace(frame_result(), statuses={3: TrackStatus(state)}))
        assert objects_message(masks, HEADER).objects[0].track_state == number


def test_boxes_of_detections_are_told_by_centre_and_size() -> None:
    second = detections_message(Masks.of(frame_result()), HEADER).detections[1].bbox
    assert (second.center.position.x, second.center.position.y, second.size_x, second.size_y) == (6.0, 4.0, 4.0, 2.0)


def test_a_detection_may_be_a_single_column() -> None:
    result = replace(frame_result(), boxes=torch.tensor([[2, 1, 3, 4], [4, 3, 4, 5], [0, 0, 0, 0]]))
    assert [one.id for one in detections_message(Masks.of(result), HEADER).detections] == ["3"]


def test_the_largest_id_that_fits_is_explained() -> None:
    message = label_info_message(((65534, "cup"), (65535, "mug")), HEADER, 1.0)
    assert [one.class_id for one in message.class_map] == [0, 65534]
    assert message.threshold == pytest.approx(1 / (1 + math.exp(-1.0)))


def test_a_summary_says_in_which_state_an_object_is() -> None:
    for state, number in (
        (ObjectState.TRACKED, TrackedObject.TRACKED),
        (ObjectState.ABSENT, TrackedObject.ABSENT),
        (ObjectState.NO_MASK, TrackedObject.NO_MASK),
    ):
        assert summary_message(ObjectInfo(3, "cup", 5, 0, state, 0.25, 0.125)).state == number
