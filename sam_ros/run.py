"""Run a node until a signal or the context ends it, and leave cleanly."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from sam_ros.sources import SourceError

__all__ = ["run"]


def run(create: Callable[[], Node], args: Sequence[str] | None = None) -> None:
    """Create a node and spin it in one thread; SIGINT and SIGTERM end it, and the process may then exit with 0.

    Args:
        create: Makes the node, after `rclpy.init`. Its `destroy_node` is called at the end in any case.
        args: Command line; None means the process's own.

    Raises:
        SystemExit: The node's parameters make no sense; the text says why.
    """
    # rclpy's own handler shuts the context down and wakes the executor. Python's would besides raise KeyboardInterrupt
    # wherever the main thread happens to be, also in the middle of the clean-up.
    signal.signal(signal.SIGINT, lambda *_: None)
    rclpy.init(args=args)
    try:
        node = create()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            executor.spin()
        except Exception:
            # Once the context is gone, spinning raises ExternalShutdownException, and publishing an RCLError.
            if rclpy.ok():
                raise
        finally:
            node.destroy_node()
    except (ParameterException, SourceError) as error:
        raise SystemExit(f"error: {error}") from error
    finally:
        rclpy.try_shutdown()
