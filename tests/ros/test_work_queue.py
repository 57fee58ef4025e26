"""The inference thread's queue: the newest frame wins, turns are fair, and everything is bounded."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from sam_ros.tracking.work_queue import BusyError, Command, Lane, NewFrame, StoppedError, WorkQueue

TIMEOUT = 60.0


def nothing(_: Any) -> None:
    """A command's call; the tests look at the order alone."""


def taken(queue: WorkQueue[str], names: dict[Future[Any], str], count: int) -> list[str]:
    """Take `count` things; return frames by their message and commands by their name."""
    items = [queue.take() for _ in range(count)]
    return [
        item.message if isinstance(item, NewFrame) else names[item.future]
        for item in items
        if isinstance(item, (NewFrame, Command))
    ]


def test_the_newest_frame_replaces_an_unread_one() -> None:
    queue: WorkQueue[str] = WorkQueue(4)
    assert not queue.offer("first")
    assert queue.offer("second")
    assert queue.has_frame
    assert taken(queue, {}, 1) == ["second"]
    assert not queue.has_frame
    assert not queue.discard()
    queue.offer("third")
    assert queue.discard()
    assert not queue.has_frame


def test_a_command_follows_every_frame_that_came_before_it() -> None:
    queue: WorkQueue[str] = WorkQueue(4)
    names: dict[Future[Any], str] = {}
    queue.offer("frame 1")
    assert taken(queue, names, 1) == ["frame 1"]
    queue.offer("frame 2")
    names[queue.put(nothing, Lane.PROMPT)] = "prompt"
    names[queue.put(nothing, Lane.QUERY)] = "query"
    queue.offer("frame 3")  # takes the place of frame 2
    assert taken(queue, names, 3) == ["frame 3", "prompt", "query"]


def test_frames_and_commands_alternate_and_a_query_passes_the_prompts() -> None:
    queue: WorkQueue[str] = WorkQueue(64)
    names = {queue.put(nothing, Lane.PROMPT): f"prompt {i}" for i in range(64)}
    order = taken(queue, names, 1)
    names[queue.put(nothing, Lane.QUERY)] = "query"
    names[queue.put(nothing, Lane.NODE)] = "hand-over"
    for i in range(5):
        queue.offer(f"frame {i}")
        order += taken(queue, names, 2)
    assert order == [
        *("prompt 0", "frame 0", "query", "frame 1", "hand-over", "frame 2", "prompt 1", "frame 3", "prompt 2"),
        *("frame 4", "prompt 3"),
    ]


def test_frames_do_not_starve_commands() -> None:
    queue: WorkQueue[str] = WorkQueue(4)
    names = {queue.put(nothing, Lane.PROMPT): "prompt"}
    queue.offer("frame 0")
    order: list[str] = []
    for i in range(1, 4):
        order += taken(queue, names, 1)
        queue.offer(f"frame {i}")
    assert "prompt" in order[:2]


@pytest.mark.parametrize("lane", [Lane.PROMPT, Lane.QUERY])
def test_a_full_lane_refuses_and_the_others_do_not(lane: Lane) -> None:
    queue: WorkQueue[str] = WorkQueue(3)
    for _ in range(3):
        queue.put(nothing, lane)
    with pytest.raises(BusyError, match=rf"the tracker is busy: 3 {lane.value} wait already, which is the most"):
        queue.put(nothing, lane)
    for other in set(Lane) - {lane}:
        queue.put(nothing, other)
    for _ in range(10):
        queue.put(nothing, Lane.NODE)


def test_the_end_wakes_the_thread_and_answers_what_waits() -> None:
    queue: WorkQueue[str] = WorkQueue(3)
    reader = threading.Thread(target=queue.take)
    reader.start()
    queue.close()
    reader.join(TIMEOUT)
    assert not reader.is_alive()

    queue = WorkQueue(3)
    waiting = [queue.put(nothing, lane) for lane in Lane]
    queue.offer("frame")
    queue.close()
    assert not queue.has_frame
    for future in waiting:
        with pytest.raises(StoppedError):
            future.result(TIMEOUT)
    with pytest.raises(StoppedError, match=r"^the tracker was stopped$"):
        queue.put(nothing, Lane.QUERY)
    assert queue.take() is None


def test_no_frame_is_lost_or_doubled_between_threads() -> None:
    queue: WorkQueue[int] = WorkQueue(1)
    read: list[int] = []

    def receive() -> None:
        while (item := queue.take()) is not None:
            if isinstance(item, NewFrame):
                read.append(item.message)

    reader = threading.Thread(target=receive)
    reader.start()
    replaced = sum(queue.offer(i) for i in range(20_000))
    replaced += queue.discard()
    queue.close()
    reader.join(TIMEOUT)
    assert read == sorted(read)
    assert len(read) + replaced == 20_000
