"""The web server: the page, the pictures, and the guard before both."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import nicegui
import uvicorn
from fastapi import FastAPI, Request, Response
from nicegui import Client, ui
from starlette.middleware.gzip import GZipMiddleware

from sam_ros.console.parameters import ConsoleParameters
from sam_ros.console.ros.link import TrackerLink
from sam_ros.console.web.guard import MOST_MESSAGE, Access, Guard
from sam_ros.console.web.page import ConsolePage
from sam_ros.console.web.pictures import Pictures
from sam_ros.console.web.stream import Encoder

__all__ = ["free_port", "serve"]

DISMISSAL = 1.0  # s that a browser has to leave by itself
UNOPENED = 4  # times as many pages may be asked for, and wait for their browser to come back
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

    def is_full() -> bool:
        return open_pages() >= settings.max_browsers or len(Client.instances) >= UNOPENED * settings.max_browsers

    async def check(client: Client) -> None:  # several may have been asked for before one was opened
        if open_pages() > settings.max_browsers:
            await dismiss(client)

    @nicegui.app.exception_handler(404)
    async def missing(request: Request, error: Exception) -> Response:  # NiceGUI's own would be one more page
        return Response("There is nothing here.", 404)

    @ui.page("/", title="Console", response_timeout=20.0)
    def page() -> None:
        ui.context.client.on_connect(check)
        ui.add_css(STYLE)
        ConsolePage(links, encoder, read_only=settings.read_only)

    encoder = Encoder()
    app = FastAPI(openapi_url=None)
    ui.run_with(
        app,
        title="Console",
        favicon="🎯",
        dark=None,
        language="en-US",
        reconnect_timeout=10.0,
        message_history_length=100,  # of each page, for a browser that comes back within that time
        show_welcome_message=False,
        gzip_middleware_factory=lambda inner: GZipMiddleware(inner, minimum_size=500, compresslevel=6),
    )
    pictures = Pictures(app, links, encoder)
    access = Access(settings.allowed_hosts(port), token, f"sam_console_{port}")
    try:
        uvicorn.run(
            Guard(pictures, access, settings.max_browsers, is_full),
            host=settings.host,
            port=port,
            log_level="warning",
            ws_max_size=MOST_MESSAGE,
            timeout_graceful_shutdown=1,
        )
    finally:
        encoder.stop()


def open_pages() -> int:
    """Return how many browsers' pages are open."""
    return sum(client.has_socket_connection for client in Client.instances.values())


async def dismiss(client: Client) -> None:
    """Close a page that is one too many: its browser loads it again, and is refused."""
    client.open("/")
    await asyncio.sleep(DISMISSAL)
    if client.has_socket_connection and not client.is_deleted:
        client.delete()


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
