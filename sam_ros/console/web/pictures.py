"""The answer to a browser that asks for its next picture, before NiceGUI sees the request.

Each browser asks up to 30 times a second, and NiceGUI's middlewares with FastAPI's routing take more of the processor's
time than the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sam_core import ImageError
from sam_ros.console.ros.link import TrackerLink
from sam_ros.console.web.stream import LEVELS, Encoder

__all__ = ["FRAME_URL", "Pictures"]

FRAME_URL = "/frame"
PATIENCE = 5.0  # s that a question for the next picture waits


class Pictures:
    """Answer questions for pictures, and hand on everything else (ASGI middleware).

    Args:
        app: Serves everything else.
        links: Returns the trackers by their names.
        encoder: Makes the pictures.
    """

    def __init__(self, app: ASGIApp, links: Callable[[], Mapping[str, TrackerLink]], encoder: Encoder) -> None:
        self.app = app
        self._links = links
        self._encoder = encoder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["path"] != FRAME_URL:
            await self.app(scope, receive, send)
            return
        query = QueryParams(scope["query_string"])
        try:
            after, level = int(query.get("after", 0)), int(query.get("level", 0))
        except ValueError:
            response = Response("after and level are whole numbers", 422)
        else:
            response = await self._answer(query.get("tracker", ""), after, min(max(level, 0), len(LEVELS) - 1))
        await response(scope, receive, send)

    async def _answer(self, tracker: str, after: int, level: int) -> Response:
        """Wait for a frame of a tracker after the given one, and return the newest at a level of `LEVELS`."""
        link = self._links().get(tracker)
        if link is None:
            return Response("No tracker was found yet. Start one: ros2 launch sam_ros tracker.launch.py", 404)
        link.look()
        newest = await link.frames.newer(after, PATIENCE)
        if newest is None:
            return Response(status_code=204, headers={"x-reason": _why_no_picture(link)})
        try:
            data = await self._encoder.encode(tracker, newest, level)
        except ImageError as error:
            return Response(f"The image cannot be shown: {error}"[:400], 415)
        return Response(data, media_type="application/octet-stream", headers={"cache-control": "no-store"})


def _why_no_picture(link: TrackerLink) -> str:
    health = link.health
    if not health.present:
        return f"{link.name} is not running. The page goes on by itself when it comes back."
    if health.state != "active":
        return f"{link.name} is {health.state}: activate it to see its images."
    return f"No image comes on {link.image_topic}." if link.image_topic else "The topic of the images is not known."
