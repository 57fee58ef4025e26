"""Write the bag that docs/annotate.md goes through: the demo's scene, 20 s at 30 Hz."""

from __future__ import annotations

from pathlib import Path

from benchmarks.annotation.recording import RATE, scene_frames, write_scene

__all__ = ["SECONDS", "write_example"]

SECONDS = 20.0


def write_example(path: Path) -> str:
    """Write the bag; return what to tell about it."""
    count = round(SECONDS * RATE)
    write_scene(path, scene_frames(), count)
    return f"{path} has {count} images of 640 x 480 px on /camera/image_raw."
