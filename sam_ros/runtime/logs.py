"""Log lines that others cause: of ROS-free code, and about what clients send."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rclpy.impl.rcutils_logger import RcutilsLogger

from sam_ros.runtime.texts import legible

__all__ = ["BoundedLog", "forwarded_logs"]

WINDOW = 5.0  # s
MOST_LINES = 20  # of a bounded log within the window


class BoundedLog:
    """Log what clients cause: legible, and no more than `MOST_LINES` lines in `WINDOW` seconds. Any thread may call it.

    Args:
        logger: Where the lines go.
        clock: Monotonic seconds; tests pass their own.
    """

    def __init__(self, logger: RcutilsLogger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        self._times: deque[float] = deque(maxlen=MOST_LINES)
        self._left_out = 0

    def info(self, text: str) -> None:
        """Log what happened."""
        if (line := self._line(text)) is not None:
            self._logger.info(line)

    def warning(self, text: str) -> None:
        """Log what was refused."""
        if (line := self._line(text)) is not None:
            self._logger.warning(line)

    def error(self, text: str) -> None:
        """Log what failed."""
        if (line := self._line(text)) is not None:
            self._logger.error(line)

    def _line(self, text: str) -> str | None:
        """Return a line that says how many before it were left out; None where it is one too many itself."""
        with self._lock:
            now = self._clock()
            if len(self._times) == MOST_LINES and now - self._times[0] < WINDOW:
                self._left_out += 1
                return None
            self._times.append(now)
            left_out, self._left_out = self._left_out, 0
        return legible(text) + (f" ({left_out} lines before it are left out)" if left_out else "")


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
