"""The web server: the page, the pictures, and the guard before both."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from fastapi import Request, Response
from nicegui import Client, app, ui
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

from sam_core import ImageError
from sam_ros.console.parameters import ConsoleParameters
from sam_ros.console.ros.link import TrackerLink
from sam_ros.console.web.guard import MOST_MESSAGE, Access, Guard
from sam_ros.console.web.page import ConsolePage
from sam_ros.console.web.picture import FRAME_URL
from sam_ros.console.web.stream import LEVELS, Encoder

__all__ = ["free_port", "serve"]

DISMISSAL = 1.0  # s that a browser has to leave by itself
UNOPENED = 4  # times as many pages may be asked for, and wait for their browser to come back
PATIENCE = 5.0  # s that a browser's question for the next picture waits
STYLE = Path(__file__).with_name("style.css")


def serve(
    links: Callable[[], Mapping[str, TrackerLink]], settings: ConsoleParameters, *, port: int, token: str
) -> None:
    """Serve browsers until a signal ends it.

    Args:
        links: Returns the trackers by their names.
        settings: The console's parameters.
        port: TCP port.
        token: What a browser must know; empty: nothing.
    """
    encoder = Encoder()

    def is_full() -> bool:
        return open_pages() >= settings.max_browsers or len(Client.instances) >= UNOPENED * settings.max_browsers

    async def check(client: Client) -> None:  # several may have been asked for before one was opened
        if open_pages() > settings.max_browsers:
            await dismiss(client)

    @app.exception_handler(404)
    async def missing(request: Request, error: Exception) -> Response:  # NiceGUI's own would be one more page
        return Response("There is nothing here.", 404)

    @ui.page("/", title="Console", response_timeout=20.0)
    def page() -> None:
        ui.context.client.on_connect(check)
        ui.add_css(STYLE)
        ConsolePage(links, read_only=settings.read_only)

    @app.get(FRAME_URL)
    async def frame(request: Request, tracker: str = "", after: int = 0, level: int = 0) -> Response:
        link = links().get(tracker)
        if link is None:
            return Response("No tracker was found yet. Start one: ros2 launch sam_ros tracker.launch.py", 404)
        link.look()
        newest = await link.frames.newer(after, PATIENCE)
        if newest is None:
            return Response(status_code=204, headers={"x-reason": _why_no_picture(link)})
        try:
            data = await encoder.encode(tracker, newest, min(max(level, 0), len(LEVELS) - 1))
        except ImageError as error:
            return Response(f"The image cannot be shown: {error}"[:400], 415)
        return Response(data, media_type="application/octet-stream", headers={"cache-control": "no-store"})

    access = Access(settings.hosts(port), token, f"sam_console_{port}")
    app.add_middleware(Guard, access=access, is_full=is_full)
    app.on_shutdown(encoder.stop)
    ui.run(
        host=settings.host,
        port=port,
        title="Console",
        favicon="🎯",
        dark=None,
        language="en-US",
        show=False,
        reload=False,
        show_welcome_message=False,
        reconnect_timeout=10.0,
        ws_max_size=MOST_MESSAGE,
        gzip_middleware_factory=lambda inner: PageCompression(inner, minimum_size=500, compresslevel=6),
        timeout_graceful_shutdown=1,
        endpoint_documentation="none",
    )


def open_pages() -> int:
    """Return how many browsers' pages are open."""
    return sum(client.has_socket_connection for client in Client.instances.values())


async def dismiss(client: Client) -> None:
    """Close a page that is one too many: its browser loads it again, and is refused."""
    client.open("/")
    await asyncio.sleep(DISMISSAL)
    if client.has_socket_connection and not client.is_deleted:
        client.delete()


class PageCompression(GZipMiddleware):
    """Compress scripts and texts, but not pictures: a JPEG gets no smaller, and takes the processor's time."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope.get("path") == FRAME_URL:
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def free_port(host: str, port: int) -> int:
    """Return the port, or one that is free where it is 0.

    Raises:
        OSError: The port is taken, or the address not this computer's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def _why_no_picture(link: TrackerLink) -> str:
    health = link.health
    if not health.present:
        return f"{link.name} is not running. The page goes on by itself when it comes back."
    if health.state != "active":
        return f"{link.name} is {health.state}: activate it to see its images."
    return f"No image comes on {link.image_topic}." if link.image_topic else "The topic of the images is not known."
