"""Run a node until a signal ends it, and leave cleanly."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Thread

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from sam_ros.runtime.allocation import keep_freed_memory
from sam_ros.runtime.errors import FatalError
from sam_ros.runtime.executor import RecoveringExecutor
from sam_ros.runtime.shared_memory import remove_stale_segments

__all__ = ["run"]

QUIET = 5.0  # s between two log lines about failed callbacks


def run(create: Callable[[], Node], args: Sequence[str] | None = None) -> None:
    """Create a node and spin it in one thread; SIGINT and SIGTERM end it, and the process with code 0.

    After a signal the process ends as soon as the node is destroyed and ROS is shut down: ROS's launch kills what has
    not ended 5 s after Ctrl-C. A thread that still computes cannot be interrupted, and Python's own end, which tears
    down all libraries, can take longer than that on a busy computer.

    Args:
        create: Makes the node, after `rclpy.init`. Its `destroy_node` is called at the end in any case.
        args: Command line; None means the process's own.

    Raises:
        SystemExit: The node's parameters make no sense; the text says why.
    """
    faulthandler.enable()  # a crash within a library says where it happened before the process ends
    keep_freed_memory()  # before anything large is allocated
    # Not rclpy's handlers: they shut the context down under whatever is just being published or answered.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        executor = RecoveringExecutor()
        ended = _on_signal(executor)
        removed = remove_stale_segments()
        node = create()
        if removed.segments:
            node.get_logger().info(
                f"removed {removed.segments} shared-memory segments of dead processes, {removed.bytes / 2**20:.0f} MiB"
            )
        executor.add_node(node)
        try:
            with suppress(ExternalShutdownException):
                while not ended.is_set():
                    _spin_once(executor, node)
        finally:
            node.destroy_node()
    except (ParameterException, FatalError) as error:
        raise SystemExit(f"error: {error}") from error
    finally:
        rclpy.try_shutdown()
    if ended.is_set():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _on_signal(executor: Executor) -> Event:
    """Return an event that SIGINT or SIGTERM sets; the executor's `spin_once` returns then.

    The main thread waits inside the middleware, where Python's handlers do not run, so the signal's number goes
    through a pipe to a thread that waits for it.
    """
    ended = Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: None)

    def wait() -> None:
        os.read(reading, 1)
        ended.set()
        # A task, because `wake` alone does not end `spin_once` where no timer runs.
        executor.create_task(lambda: None)

    Thread(target=wait, name="signals", daemon=True).start()
    return ended


def _spin_once(executor: Executor, node: Node) -> None:
    """Run one callback; if it fails, that is logged and costs nothing else.

    Raises:
        ExternalShutdownException: The context is gone.
        ParameterException, FatalError: What the node cannot do without is missing.
    """
    try:
        executor.spin_once()
    except (ExternalShutdownException, ParameterException, FatalError):
        raise
    except Exception as error:
        if not rclpy.ok():
            raise ExternalShutdownException from error
        text = f"a callback failed: {type(error).__name__}: {error}\n{traceback.format_exc()}"
        node.get_logger().error(text, throttle_duration_sec=QUIET)
