"""A node keeps the memory of an image for the next one: no page is touched for the first time again and again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_ros.runtime.processes import Executable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="about glibc's malloc")

IMAGE = 6_220_800  # bytes: 1920 x 1080, three channels
PAGE = 4096  # bytes

SCRIPT = f"""
import resource, sys
import numpy as np
from sam_ros.runtime.allocation import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        three = [np.ones({IMAGE}, np.uint8) for _ in range(3)]
        del three
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

assert keep_freed_memory()
faults()
print(faults())
"""


def test_freed_images_are_used_again() -> None:
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=True)
    assert int(found.stdout) < IMAGE // PAGE, "30 images, and fewer faults than one image has pages"


def test_a_tracker_touches_no_new_pages_image_after_image(client: Any, running_tracker: Executable) -> None:
    def faults() -> int:
        before = minor_faults(running_tracker.pid)
        for _ in range(10):
            client.track(np.full((1080, 1920, 3), 90, np.uint8))
        return minor_faults(running_tracker.pid) - before

    faults()
    assert faults() < 10 * IMAGE // PAGE / 2, "rclpy alone makes three blocks of each image"


def minor_faults(process: int) -> int:
    """Return how many pages a process has touched that the kernel had first to find."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[7])
