"""Measure the console: stamp to pixels, what it costs the tracker, what a slow browser changes, and its memory."""

from __future__ import annotations

import re
import sys
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
QUEUE = 10  # results
EARLY = 4  # the fifth minute: caches and rings are full
UNSEEN = 18.0  # s until a closed page is forgotten, and images are not received for it any more
SETTLING = 8.0  # s until open pages show pictures evenly
SLOW_NETWORK = 30_000  # bytes a second: about one picture
PARTS = ("none", "two that only play", "two", "two, one slow")
# The control: what the console's page does with a picture, 30 times a second, without a console.
PLAYER = """
async () => {
  const [image, marks] = [0, 1].map(() => document.body.appendChild(document.createElement("canvas")));
  Object.assign(image, { width: 640, height: 480 });
  Object.assign(marks, { width: 900, height: 675 });
  const context = image.getContext("2d");
  for (let i = 0; i < 400; i++) {
    context.fillStyle = `hsl(${i * 37 % 360} 60% 50%)`;
    context.fillRect(i * 97 % 640, i * 61 % 480, 60, 40);
  }
  const jpeg = await new Promise((resolve) => image.toBlob(resolve, "image/jpeg", 0.85));
  setInterval(async () => {
    const picture = await createImageBitmap(jpeg);
    context.drawImage(picture, 0, 0);
    picture.close();
    marks.getContext("2d").clearRect(0, 0, 900, 675);
  }, 33);
}
"""


class Rate(Node):
    """Count the tracker's results, by their numbers: also those that do not arrive here."""

    def __init__(self) -> None:
        super().__init__("console_figures")
        self._newest = 0
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self.create_subscription(TrackedObjectArray, "/tracker/objects", self._on_objects, QUEUE)

    def _on_objects(self, message: TrackedObjectArray) -> None:
        self._newest = message.sequence

    def over(self, seconds: float) -> float:
        """Return the results a second."""
        for _ in range(2 * QUEUE):  # what has waited since the last call
            self._executor.spin_once(timeout_sec=0.0)
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
        rounds: How often each part is measured; 0: not at all.
        minutes: How long the memory is watched; 0: not at all.
    """
    rclpy.init()
    figures: dict[str, float] = {}
    rates: dict[str, list[float]] = {part: [] for part in PARTS}
    loads: dict[str, list[dict[str, float]]] = {part: [] for part in PARTS}
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
                for part in PARTS:
                    pages = _open(stage, part)
                    time.sleep(SETTLING if pages else UNSEEN)
                    before = stage.processor_seconds()
                    rates[part].append(rate.over(seconds))
                    after = stage.processor_seconds()
                    loads[part].append({name: 100 * (after[name] - before[name]) / seconds for name in before})
                    for page in pages:
                        page.context.close()
            for part in PARTS if rounds else ():
                figures[f"results a second, browsers: {part}"] = float(np.median(rates[part]))
            for part in PARTS if rounds else ():
                for name in loads[part][0]:
                    load = float(np.median([entry[name] for entry in loads[part]]))
                    figures[f"processor, {name}, browsers: {part} [%]"] = load
            if minutes:
                figures.update(_memory(stage, rate, minutes))
    finally:
        rclpy.try_shutdown()
    return figures


def _open(stage: Stage, part: str) -> list[Any]:
    """Open the pages of one of `PARTS`."""
    if part == "none":
        return []
    if part == "two that only play":
        pages = [stage.blank(), stage.blank()]
        for page in pages:
            page.evaluate(PLAYER)
        return pages
    pages = [stage.open(), stage.open()]
    if part == "two, one slow":
        _throttle(pages[1])
    return pages


def _throttle(page: Any) -> None:
    """Slow a page's network down."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    limits = {"offline": False, "latency": 200, "downloadThroughput": SLOW_NETWORK, "uploadThroughput": SLOW_NETWORK}
    session.send("Network.emulateNetworkConditions", limits)


def _memory(stage: Stage, rate: Rate, minutes: float) -> dict[str, float]:
    """Return the console's resident memory early and late, while a page is open; say it every minute, too."""
    page = stage.open()
    resident = []
    for minute in range(1, max(2, round(minutes)) + 1):
        rate.over(60.0)
        resident.append(_resident(stage.console.pid))
        print(f"memory after {minute} min: {resident[-1]:.1f} MiB", file=sys.stderr, flush=True)
    page.context.close()
    early = min(EARLY, len(resident) // 3)
    return {f"memory after {early + 1} min [MiB]": resident[early], f"memory after {len(resident)} min": resident[-1]}


def _resident(pid: int) -> float:
    match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) / 1024 if match else float("nan")
