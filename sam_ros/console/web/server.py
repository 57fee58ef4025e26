"""The web server: the page, the pictures, and the guard before both."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from nicegui import Client, ui
from starlette.middleware.gzip import GZipMiddleware

from sam_ros.console.parameters import ConsoleParameters
from sam_ros.console.ros.link import TrackerLink
from sam_ros.console.web.guard import MOST_MESSAGE, Access, Guard
from sam_ros.console.web.page import ConsolePage
from sam_ros.console.web.pictures import Pictures

__all__ = ["free_port", "serve"]

UNOPENED = 4  # times as many pages may be asked for, and wait for their browser to come back
STYLE = Path(__file__).with_name("style.css")
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


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

    @ui.page("/", title="Console", response_timeout=20.0)
    def page() -> None:
        open_pages = sum(client.has_socket_connection for client in Client.instances.values())
        if open_pages >= settings.max_browsers or len(Client.instances) > UNOPENED * settings.max_browsers:
            ui.label(f"{settings.max_browsers} pages are open already (parameter max_browsers).").classes("m-8")
            return
        ui.add_css(STYLE)
        ConsolePage(links, read_only=settings.read_only)

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
    pictures = Pictures(app, links)
    names = {*settings.origins, *(f"{name}:{port}" for name in (*LOCAL_NAMES, settings.host))}
    hosts = frozenset() if settings.open_to_others else frozenset(name.lower() for name in names)
    try:
        uvicorn.run(
            Guard(pictures, Access(hosts, token)),
            host=settings.host,
            port=port,
            log_level="warning",
            ws_max_size=MOST_MESSAGE,
            timeout_graceful_shutdown=1,
        )
    finally:
        pictures.stop()


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
