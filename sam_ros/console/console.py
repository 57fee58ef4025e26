"""The console's process: a ROS node in one thread, a web server in the other (`ros2 run sam_ros console`)."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.signals import SignalHandlerOptions

from sam_ros.console.parameters import ConsoleParameters
from sam_ros.runtime.errors import FatalError

__all__ = ["main"]

NICENESS = 10  # on a busy computer the tracker goes before its display


def main(args: Sequence[str] | None = None) -> None:
    """Run the console until a signal ends it.

    Raises:
        SystemExit: A parameter makes no sense, the port is taken, or NiceGUI is not installed; the text says so.
    """
    try:
        from sam_ros.console.web.server import free_port, serve
    except ModuleNotFoundError as error:
        if error.name != "nicegui":
            raise
        raise SystemExit("error: the console needs NiceGUI: pip install -r requirements/console.txt") from None
    from sam_ros.console.ros.console_node import ConsoleNode, RosThread

    _go_last()
    for kind in (signal.SIGINT, signal.SIGTERM):  # the web server has its own handlers while it runs
        signal.signal(kind, signal.default_int_handler)
    rclpy.init(args=list(args) if args is not None else sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = ConsoleNode()
        settings = node.settings
        port = free_port(settings.host, settings.port)
        token = token_of(settings)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{host}:{port}/"
        pages = "read-only pages" if settings.read_only else "pages"
        node.get_logger().info(f"serving {pages} at {address}{', with a token' if token else ''}")
        print(
            f"console at {address}{f'?token={token}' if token else ''}", flush=True
        )  # the log goes to /rosout and bags
        with RosThread(node):
            serve(lambda: node.links, settings, port=port, token=token)
    except (FatalError, ParameterException) as error:
        raise SystemExit(f"error: {error}") from None
    except OSError as error:
        raise SystemExit(f"error: cannot listen at {settings.host}, port {settings.port}: {error.strerror}") from None
    except KeyboardInterrupt:
        pass
    finally:
        rclpy.try_shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # at once: threads that wait in a library would hold up the end


def _go_last() -> None:
    """Let others go first, by nice and by autogroup: Linux shares the processor out by sessions first (sched(7))."""
    os.nice(NICENESS)
    if os.getsid(0) == os.getpid():  # else others are in this session, maybe the tracker
        with suppress(OSError):  # not Linux, or switched off
            Path("/proc/self/autogroup").write_text(str(NICENESS))


def token_of(settings: ConsoleParameters) -> str:
    """Return what a browser must know: the parameter, or something new where others can reach the console."""
    return settings.token or (secrets.token_urlsafe(16) if settings.needs_token else "")


if __name__ == "__main__":
    main()
