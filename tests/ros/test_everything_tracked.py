"""segment_everything in a node of this process: images that leave the history meanwhile, and cancellations late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sam_msgs.action import SegmentEverything
from std_msgs.msg import Header

from sam_core.streaming import TrackState
from sam_ros.conversions.stamps import to_time
from sam_ros.node.tracker_node import TrackerNode
from sam_ros.still_images import everything

PATIENCE = 60.0  # s
GOAL = {
    "action": SegmentEverything.Goal.TRACK,
    "points_per_side": 4,
    "predicted_iou_threshold": 0.0,
    "stability_threshold": 0.0,
    "box_nms_iou": 1.0,
}


class Home:
    """A tracker that keeps three images, its executor, and an action client."""

    def __init__(self, micro: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
        values = {**micro, "checkpoint": str(micro["checkpoint"]), "history_frames": 3, "max_objects": 8}
        self.node = TrackerNode("everything", parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])
        assert self.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert self.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        self._picture = picture
        self._client_node = rclpy.create_node("everything_client")
        self._executor = SingleThreadedExecutor()
        for node in (self.node, self._client_node):
            self._executor.add_node(node)
        self._action = ActionClient(self._client_node, SegmentEverything, "everything/segment_everything")
        self._stamps = iter(range(1, 1000))
        self.until(self._action.server_is_ready)

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end
            self._executor.spin_once(timeout_sec=0.02)

    def step(self) -> Any:
        """Track on one image more, and return its result."""
        stamp = next(self._stamps)

        def step(session: Any) -> Any:
            return session.step(self._picture(stamp), stamp * 10**9, Header(stamp=to_time(stamp * 10**9))).result

        return self.node._inference.submit(step).result(PATIENCE)

    def begin(self, **goal: Any) -> Any:
        future = self._action.send_goal_async(SegmentEverything.Goal(**{**GOAL, **goal}))
        self.until(future.done)
        return future.result()

    def end(self, handle: Any) -> tuple[int, Any]:
        future = handle.get_result_async()
        self.until(future.done)
        return future.result().status, future.result().result

    def close(self) -> None:
        self._executor.shutdown()
        self._action.destroy()
        self._client_node.destroy_node()
        self.node.destroy_node()


@pytest.fixture
def home(ros: None, micro: dict[str, Any], picture: Callable[..., np.ndarray]) -> Iterator[Home]:
    kept = Home(micro, picture)
    yield kept
    kept.close()


class Held:
    """A function of the action, the first call of which is held up until it may go on."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.reached, self.go_on, self._function = threading.Event(), threading.Event(), function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.reached.set()
        self.go_on.wait(PATIENCE)
        return self._function(*args, **kwargs)


def test_objects_of_an_image_that_has_left_the_history_are_looked_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.step()
    held = Held(everything.track)
    monkeypatch.setattr(everything, "track", held)
    handle = home.begin(max_masks=2)
    home.until(held.reached.is_set)
    inference = home.node._inference
    # The inference thread is held up, so these frames wait in its queue, before the objects but the first one.
    later = [inference.submit(lambda session: session.step(home._picture(0), 10**12, Header())) for _ in range(5)]
    held.go_on.set()
    status, result = home.end(handle)
    assert all(frame.result(PATIENCE) for frame in later)

    assert (status, result.success) == (GoalStatus.STATUS_SUCCEEDED, True), result.message
    assert result.header.stamp == to_time(10**9)
    first, second = (item.object_id for item in result.masks)
    assert "so 1 objects are lost until they are found in a coming one" in result.message
    tracked = home.step()
    assert {first, second} <= set(tracked.object_ids)
    assert tracked.statuses[second].state is TrackState.LOST
    assert home.step().statuses[second].state is TrackState.TRACKED, "this network sees it in every image"


@pytest.mark.parametrize(
    ("name", "words", "objects"),
    [("track", "cancelled after 1 masks were tracked", 1), ("_message", "cancelled after the search", 2)],
)
def test_a_goal_is_cancelled_while_masks_are_tracked_or_sent(
    home: Home, monkeypatch: pytest.MonkeyPatch, name: str, words: str, objects: int
) -> None:
    home.step()
    held = Held(getattr(everything, name))
    monkeypatch.setattr(everything, name, held)
    handle = home.begin(max_masks=2)
    home.until(held.reached.is_set)
    cancelled = handle.cancel_goal_async()
    home.until(cancelled.done)
    held.go_on.set()
    status, result = home.end(handle)
    assert status == GoalStatus.STATUS_CANCELED
    assert words in result.message
    assert not result.success
    assert len(result.masks) == 0
    tracked = home.node._inference.submit(lambda session: len(session.stream.objects)).result(PATIENCE)
    assert tracked == objects
