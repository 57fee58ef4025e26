"""The node's own time: from camera stamp to published objects without the model's time, and its share of a core.

Two real processes, camera and tracker, over DDS (`benchmarks/node/soak.py` has the machinery).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.speed.report import Section
from benchmarks.speed.timing import tell

__all__ = ["node_overhead"]

# Width and height in px, images a second: slow enough for a CPU's model to be done before the next image comes, so
# that waiting for it is no part of the overhead.
CAMERAS = ((640, 480, 15.0), (1920, 1080, 5.0))


def node_overhead(model: str, device: str, *, seconds: float, objects: int = 1, threads: int = 1) -> Section:
    """Measure the node at both camera sizes."""
    section = Section(
        "node",
        f"The node beside the model ({model}, {objects} object{'s' * (objects > 1)})",
        {"camera": "camera", "latency": "latency p50, ms", "model": "model p50, ms", "overhead": "overhead p50, ms"}
        | {
            "overhead in the calmest": "in the calmest 5 s",
            "overhead p99": "p99 in the worst 5 s",
            "cpu beside the model": "cores beside the model",
            "cpu": "cores in all",
        },
        notes=["Published are `~/objects` with masks and the diagnostics."],
    )
    for width, height, rate in CAMERAS:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "node.json"
            command = [sys.executable, "-m", "benchmarks.node.soak", "--model", model, "--seconds", str(seconds)]
            command += ["--width", str(width), "--height", str(height), "--rate", str(rate), "--device", device]
            command += ["--objects", str(objects), "--cpu-threads", str(threads), "--logs", folder, "--json", str(path)]
            camera = f"{width} × {height} at {rate:g} Hz"
            tell(f"node, {camera}: timing")
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            tell("timed")
            if path.is_file():
                section.rows.append({"camera": camera, **json.loads(path.read_text())})
            else:
                section.notes.append(f"{camera}: {_last_line(done.stderr)}")
    return section


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it ended without a word"])[-1]
