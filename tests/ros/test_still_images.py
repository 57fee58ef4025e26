"""Still images in the running node: segment_image and segment_everything, over real DDS, while objects are tracked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from sam_msgs.action import SegmentEverything
from sam_msgs.msg import ImagePrompt, LabeledPoint
from sam_msgs.srv import SegmentImage
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import stamp_of, to_time

SMALL = {"points_per_side": 4, "predicted_iou_threshold": 0.0, "stability_threshold": 0.0}


def click(x: float, y: float, label: int = LabeledPoint.POSITIVE) -> LabeledPoint:
    return LabeledPoint(x=float(x), y=float(y), label=label)


def mask_prompt(height: int = 96, width: int = 128) -> ImagePrompt:
    mask = np.zeros((height, width), np.uint8)
    mask[30:60, 20:50] = 255
    return ImagePrompt(mask=array_to_image(mask, "mono8", Header()))


PROMPTS = [
    ImagePrompt(points=[click(35, 45)]),
    ImagePrompt(points=[click(35, 45), click(100, 20, LabeledPoint.NEGATIVE)], box=[15.0, 25.0, 60.0, 70.0]),
    mask_prompt(),
    ImagePrompt(box=[15.0, 25.0, 60.0, 70.0]),
]


def pixels(masks: Any) -> list[bytes]:
    return [bytes(item.mask.data) for item in masks]


class Goals:
    """An action client of the tracker."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._action = ActionClient(client.node, SegmentEverything, f"{client.tracker}/segment_everything")
        client.until(self._action.server_is_ready, "the action")

    def begin(self, feedback: list[Any] | None = None, **goal: Any) -> Any:
        """Send a goal and return its handle once it is accepted."""
        tell = None if feedback is None else lambda message: feedback.append(message.feedback)
        future = self._action.send_goal_async(SegmentEverything.Goal(**goal), tell)
        self._client.until(future.done, "the goal to be accepted")
        assert future.result().accepted
        return future.result()

    def end(self, handle: Any) -> tuple[int, Any]:
        """Wait for a goal's status and result."""
        future = handle.get_result_async()
        self._client.until(future.done, "the result")
        return future.result().status, future.result().result

    def do(self, feedback: list[Any] | None = None, **goal: Any) -> tuple[int, Any]:
        return self.end(self.begin(feedback, **goal))

    def destroy(self) -> None:
        self._action.destroy()


@pytest.fixture
def goals(client: Any) -> Iterator[Goals]:
    actions = Goals(client)
    yield actions
    actions.destroy()


def test_a_processed_image_is_segmented_by_all_kinds_of_prompts(client: Any, picture: Callable[..., Any]) -> None:
    stamp = stamp_of(client.track(picture(0)).header)
    client.track(picture(7))

    answer = client.call(SegmentImage, "segment_image", stamp=to_time(stamp), prompts=PROMPTS, multimask=True)

    assert (answer.success, answer.message) == (True, "")
    assert (stamp_of(answer.header), answer.header.frame_id) == (stamp, "test_camera")
    assert [item.prompt for item in answer.masks] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for first in range(0, 12, 3):
        scores = [item.predicted_iou for item in answer.masks[first : first + 3]]
        assert scores == sorted(scores, reverse=True)
    for item in answer.masks:
        mask = np.frombuffer(item.mask.data, np.uint8).reshape(item.box.height, item.box.width)
        assert item.area == (mask == 255).sum() > 0
        assert item.mask.header == answer.header
        assert (item.object_id, mask[0].any(), mask[:, -1].any()) == (0, True, True)
    assert client.list().objects == []


def test_an_image_of_the_request_gives_the_masks_of_the_processed_one(client: Any, picture: Callable[..., Any]) -> None:
    stamp = stamp_of(client.track(picture(3)).header)
    header = Header(stamp=to_time(5), frame_id="elsewhere")

    processed = client.call(SegmentImage, "segment_image", stamp=to_time(stamp), prompts=PROMPTS)
    sent = client.call(SegmentImage, "segment_image", image=array_to_image(picture(3), "rgb8", header), prompts=PROMPTS)

    assert sent.success
    assert sent.header == header
    assert len(sent.masks) == len(PROMPTS)
    assert pixels(sent.masks) == pixels(processed.masks)


def test_another_image_than_that_of_the_stamp_is_told(client: Any, picture: Callable[..., Any]) -> None:
    newest = stamp_of(client.track(picture(0)).header)
    asked = {"stamp": to_time(newest - 20 * 10**9), "prompts": PROMPTS[:1]}

    refused = client.call(SegmentImage, "segment_image", **asked)
    answer = client.call(SegmentImage, "segment_image", or_newest=True, **asked)

    assert not refused.success
    assert "was not processed, or too long ago" in refused.message
    assert stamp_of(answer.header) == newest
    assert "the newest one" in answer.message


def test_tracking_is_not_disturbed(client: Any, goals: Goals, picture: Callable[..., Any]) -> None:
    def run(between: Callable[[], object]) -> list[bytes]:
        assert client.reset().success
        client.track(picture(0))
        assert client.prompt((35, 45)).success
        masks = []
        for index in range(1, 4):
            between()
            masks.append(bytes(client.track(picture(index)).objects[0].mask.data))
        return masks

    def ask() -> None:
        image = array_to_image(picture(20), "rgb8", Header())
        assert client.call(SegmentImage, "segment_image", image=image, prompts=PROMPTS).success
        assert client.call(SegmentImage, "segment_image", prompts=PROMPTS, multimask=True).success
        assert goals.do(**SMALL)[1].success

    assert run(ask) == run(lambda: None)


@pytest.mark.parametrize(
    ("request_of", "words"),
    [
        (dict, "give 1 to 64 prompts, not 0"),
        (lambda: {"prompts": PROMPTS[:1] * 65}, "give 1 to 64 prompts, not 65"),
        (lambda: {"prompts": [PROMPTS[0], ImagePrompt()]}, "Prompt 2 of 2: The prompt is empty"),
        (lambda: {"prompts": [ImagePrompt(points=[click(math.nan, 1)])]}, "not finite"),
        (lambda: {"prompts": [ImagePrompt(points=[click(500, 1)])]}, "outside the image"),
        (lambda: {"prompts": [ImagePrompt(points=[click(1, 1)] * 101)]}, "at most 100 points"),
        (lambda: {"prompts": [ImagePrompt(box=[1.0, 2.0])]}, "a box is four numbers"),
        (lambda: {"prompts": [mask_prompt(40, 40)]}, "the image has 96 × 128"),
        (lambda: {"prompts": PROMPTS[:1], "image": Image(width=4, height=4, encoding="rgb8")}, "bytes"),
        (lambda: {"prompts": PROMPTS[:1], "image": Image(width=2**20, height=2**20, encoding="rgb8")}, "pixels"),
        (lambda: {"prompts": PROMPTS[:1], "image": Image(width=4, height=4, encoding="magic")}, "magic"),
    ],
)
def test_a_bad_request_gets_a_sentence(
    client: Any, picture: Callable[..., Any], request_of: Callable[[], dict[str, Any]], words: str
) -> None:
    client.track(picture(0))

    answer = client.call(SegmentImage, "segment_image", **request_of())

    assert not answer.success
    assert words in answer.message
    assert len(answer.masks) == 0


def test_everything_is_reported_with_progress(client: Any, goals: Goals, picture: Callable[..., Any]) -> None:
    stamp = stamp_of(client.track(picture(0)).header)
    feedback: list[Any] = []

    status, result = goals.do(feedback, points_per_side=6, predicted_iou_threshold=0.0, stability_threshold=0.0)

    assert status == GoalStatus.STATUS_SUCCEEDED
    assert result.success, result.message
    assert (stamp_of(result.header), result.header.frame_id) == (stamp, "test_camera")
    done: list[int] = client.until(
        lambda: found if (found := [item.points_done for item in feedback])[-2:] == [36, 36] else None,
        "the newest progress, which may come after the result",
    )
    assert done == [16, 32, 36, 36][-len(done) :]  # progress is lost until client and server have found each other
    assert {item.points_total for item in feedback} == {36}
    scores = [item.predicted_iou for item in result.masks]
    assert scores == sorted(scores, reverse=True)
    assert 0 < len(scores) <= feedback[-1].masks
    assert all(item.object_id == 0 and item.area for item in result.masks)
    assert client.list().objects == []


def test_crops_of_an_image_that_comes_with_the_goal(client: Any, goals: Goals, picture: Callable[..., Any]) -> None:
    header = Header(stamp=to_time(9), frame_id="elsewhere")
    image = array_to_image(picture(0), "rgb8", header)
    feedback: list[Any] = []

    status, result = goals.do(feedback, image=image, crop_layers=1, max_masks=2, **SMALL)

    assert (status, result.header) == (GoalStatus.STATUS_SUCCEEDED, header)
    assert feedback[-1].points_total == 16 * 5  # the image and its quarters
    assert 1 <= len(result.masks) <= 2


def test_the_best_masks_are_tracked_and_not_twice(client: Any, goals: Goals, picture: Callable[..., Any]) -> None:
    goal = {"action": SegmentEverything.Goal.TRACK, "max_masks": 2, "box_nms_iou": 1.0, **SMALL}
    client.track(picture(0))

    status, first = goals.do(**goal)

    assert status == GoalStatus.STATUS_SUCCEEDED, first.message
    ids = [item.object_id for item in first.masks]
    assert len(ids) >= 1
    assert 0 not in ids
    assert {item.id for item in client.list().objects} == set(ids)
    _, second = goals.do(**goal)
    assert {item.object_id for item in second.masks} & set(ids)
    assert {item.id for item in client.track(picture(1)).objects} >= set(ids)


def test_one_goal_at_a_time_and_it_can_be_cancelled(client: Any, goals: Goals, picture: Callable[..., Any]) -> None:
    client.track(picture(0))
    feedback: list[Any] = []
    long = goals.begin(feedback, points_per_side=64)
    client.until(lambda: feedback, "progress")

    status, refused = goals.do(**SMALL)
    cancelled = long.cancel_goal_async()
    client.until(cancelled.done, "the cancellation")
    ended, result = goals.end(long)

    assert status == GoalStatus.STATUS_ABORTED
    assert "only one is at a time" in refused.message
    assert ended == GoalStatus.STATUS_CANCELED
    assert not result.success
    assert "cancelled after" in result.message
    assert len(result.masks) == 0
    assert goals.do(**SMALL)[1].success


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ({"action": 7}, "an action is REPORT"),
        ({"action": 1, "image": Image(width=4)}, "TRACK needs an image that the tracker has processed"),
        ({"points_per_side": 0}, "points_per_side must be within [1, 64]"),
        ({"points_per_side": 65}, "points_per_side must be within [1, 64]"),
        ({"crop_layers": 3}, "crop_layers must be within [0, 2]"),
        ({"crop_layers": 1}, "send the image with the goal"),
        ({"stability_threshold": math.nan}, "stability_threshold must be within [0, 1]"),
        ({"predicted_iou_threshold": -0.5}, "predicted_iou_threshold must be within [0, 1]"),
        ({"box_nms_iou": 2.0}, "box_nms_iou must be within [0, 1]"),
        ({"min_region_area": 2**32 - 1}, "min_region_area must be within [0, 2147483648]"),
        ({"stamp": to_time(5)}, "was not processed, or too long ago"),
        ({"image": Image(width=4, height=4, encoding="magic")}, "magic"),
    ],
)
def test_a_bad_goal_is_aborted_with_a_sentence(
    client: Any, goals: Goals, picture: Callable[..., Any], goal: dict[str, Any], words: str
) -> None:
    client.track(picture(0))

    status, result = goals.do(**{**SMALL, **goal})

    assert status == GoalStatus.STATUS_ABORTED
    assert words in result.message
    assert not result.success
