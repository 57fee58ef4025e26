"""Measure the console: stamp to pixels, what it costs the tracker, what a slow browser changes, and its memory."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sam_msgs.msg import TrackedObjectArray

from benchmarks.console.stage import Stage, running

__all__ = ["measure"]

CAMERA = {"source": "scene", "rate": 30.0, "width": 640, "height": 480}
SLOW_NETWORK = 30_000  # bytes a second: about one picture


class Rate(Node):
    """Count the tracker's results, by their numbers: also those that do not arrive here."""

    def __init__(self) -> None:
        super().__init__("console_figures")
        self._newest = 0
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self.create_subscription(TrackedObjectArray, "/tracker/objects", self._on_objects, 10)

    def _on_objects(self, message: TrackedObjectArray) -> None:
        self._newest = message.sequence

    def over(self, seconds: float) -> float:
        """Return the results a second."""
        first = self._next()
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            self._executor.spin_once(timeout_sec=0.05)
        last = self._next()
        return (last - first) / (time.monotonic() - began)

    def _next(self) -> int:
        """Wait for the next result, and return its number."""
        self._newest = 0
        while not self._newest:
            self._executor.spin_once(timeout_sec=0.05)
        return self._newest


def measure(model: str, seconds: float, rounds: int, minutes: float) -> dict[str, float]:
    """Run everything, in turns, and return the figures by their names.

    Args:
        model: The tracker's.
        seconds: Of each part of a round.
        rounds: How often each part is measured.
        minutes: How long the memory is watched; 0: not at all.
    """
    rclpy.init()
    figures: dict[str, float] = {}
    parts: dict[str, list[float]] = {"none": [], "two": [], "two, one slow": []}
    try:
        with running({"model": model}, CAMERA) as stage:
            rate = Rate()
            page = stage.open()
            page.wait_for_timeout(3000)
            page.evaluate("document.querySelector('.sam-picture').samStatistics.delays.length = 0")
            rate.over(seconds)
            delays = page.evaluate("document.querySelector('.sam-picture').samStatistics.delays")
            figures["stamp to pixels p50 [ms]"], figures["stamp to pixels p95 [ms]"] = np.percentile(delays, (50, 95))
            page.context.close()
            for _ in range(rounds):
                time.sleep(8.0)  # until nobody is seen to look any more
                parts["none"].append(rate.over(seconds))
                pages = [stage.open(), stage.open()]
                parts["two"].append(rate.over(seconds))
                _throttle(pages[1])
                parts["two, one slow"].append(rate.over(seconds))
                for page in pages:
                    page.context.close()
            for name, values in parts.items():
                figures[f"results a second, browsers: {name}"] = float(np.median(values))
            if minutes:
                figures.update(_memory(stage, rate, minutes))
    finally:
        rclpy.try_shutdown()
    return figures


def _throttle(page: Any) -> None:
    """Slow a page's network down."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    limits = {"offline": False, "latency": 200, "downloadThroughput": SLOW_NETWORK, "uploadThroughput": SLOW_NETWORK}
    session.send("Network.emulateNetworkConditions", limits)


def _memory(stage: Stage, rate: Rate, minutes: float) -> dict[str, float]:
    """Return the console's resident memory early and late, while a page is open."""
    page = stage.open()
    rate.over(min(300.0, minutes * 60 / 3))
    early = _resident(stage.console.pid)
    rate.over(minutes * 60 * 2 / 3)
    late = _resident(stage.console.pid)
    page.context.close()
    return {"memory early [MiB]": early, "memory late [MiB]": late}


def _resident(pid: int) -> float:
    match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) / 1024 if match else float("nan")
