"""A page without a browser, over links whose trackers answer when a test says so."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.node import Node
from sam_msgs.msg import TrackedObject, TrackedObjectArray
from std_msgs.msg import Header

pytest.importorskip("nicegui")

from nicegui import Client
from nicegui.page import page as route

from sam_ros.console.ros.link import TrackerLink
from sam_ros.console.web.page import ConsolePage
from sam_ros.console.web.stream import Encoder
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import to_time

SECOND = 10**9
TIMEOUT = 60.0  # s after which a play is stuck


class SlowLink(TrackerLink):
    """A link whose tracker answers when the test says so.

    Attributes:
        asked: The calls so far: name of the service, request and answer to come.
    """

    def __init__(self, node: Node, name: str) -> None:
        super().__init__(node, name, image="", most_bytes=2**24)
        self.asked: list[tuple[str, Any, asyncio.Future[Any]]] = []
        self.offered = {"add_prompt"}

    def offers(self, service: str) -> bool:
        return service in self.offered

    async def call(self, service: str, request: Any, timeout: float = 15.0) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.asked.append((service, copy.deepcopy(request), answer))
        return await answer

    def show(self, stamp: int, *ids: int) -> None:
        """Receive an image and its result, in which these objects are tracked."""
        header = Header(stamp=to_time(stamp))
        self.frames.add_image(array_to_image(np.zeros((40, 60, 3), np.uint8), "rgb8", header))
        objects = [TrackedObject(id=object_id, track_state=TrackedObject.TRACK_TRACKED) for object_id in ids]
        for item in objects:
            item.box.width = item.box.height = 8
        self.frames.add_result(TrackedObjectArray(header=header, objects=objects))


def stage(links: dict[str, SlowLink], play: Callable[[ConsolePage, SlowLink], Coroutine[Any, Any, None]]) -> list[str]:
    """Open a page of /a, and return what it says while the play is on."""
    said: list[str] = []

    async def run() -> None:
        with Client(route("")) as client:
            page = ConsolePage(lambda: links, encoder, read_only=False)
            await asyncio.wait_for(play(page, links["/a"]), TIMEOUT)
            said.extend(message[2]["message"] for message in client.outbox.messages if message[1] == "notify")
        client.delete()

    encoder = Encoder()
    try:
        asyncio.run(run())
    finally:
        encoder.stop()
    return said


def mark(link: SlowLink, x: float = 30.0, **more: Any) -> Any:
    """What a browser sends for a mark in the newest frame."""
    frame = link.frames.newest
    assert frame is not None
    return SimpleNamespace(
        args={"number": frame.number, "stamp": str(frame.stamp), "kind": "point", "at": [x, 30.0], **more}
    )


def begin(page: ConsolePage, doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Let the page do something, as for an event of the browser."""

    async def run() -> None:
        with page.picture.client:
            await doing

    return asyncio.create_task(run())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def report(link: SlowLink, **values: str) -> None:
    """Receive a report of an active tracker."""
    pairs = {"state": "active", **values}
    link.add_report(DiagnosticStatus(values=[KeyValue(key=key, value=value) for key, value in pairs.items()]))
