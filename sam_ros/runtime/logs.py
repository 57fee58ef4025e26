"""Bring the log lines of ROS-free code into the node's log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.impl.rcutils_logger import RcutilsLogger

__all__ = ["forwarded_logs"]


class _Forward(logging.Handler):
    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # One call a level: rclpy ties a level to the line that it is called from.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


@contextmanager
def forwarded_logs(name: str, logger: RcutilsLogger) -> Iterator[None]:
    """Send what the Python logger `name` and its children say to a node's logger, as long as the context lasts."""
    handler = _Forward(logger)
    source = logging.getLogger(name)
    source.addHandler(handler)
    try:
        yield
    finally:
        source.removeHandler(handler)
