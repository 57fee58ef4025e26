"""A node outlives a callback that fails: rclpy of ROS 2 Jazzy raises on an invalid lifecycle request, for example."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

SCRIPT = """
import rclpy
from rclpy.node import Node
from sam_ros.runtime.run import run

class Fragile(Node):
    def __init__(self):
        super().__init__("fragile")
        self.calls = 0
        self.create_timer(0.05, self.tick)

    def tick(self):
        self.calls += 1
        if self.calls == 3:
            print("alive", flush=True)
            rclpy.shutdown()
        else:
            raise ValueError("no such thing")

run(Fragile)
print("ended cleanly", flush=True)
"""


def test_a_failing_callback_is_logged_and_the_node_lives_on() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)], capture_output=True, text=True, timeout=120, check=False
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split("\n")[:2] == ["alive", "ended cleanly"]
    assert "a callback failed: ValueError: no such thing" in finished.stderr


CRASH = """
import os, signal
from rclpy.node import Node
from sam_ros.runtime.run import run

class Crashing(Node):
    def __init__(self):
        super().__init__("crashing")
        self.create_timer(0.05, self.within_a_library)

    def within_a_library(self):
        os.kill(os.getpid(), signal.SIGSEGV)

run(Crashing)
"""


def test_a_crash_within_a_library_says_where_it_happened() -> None:
    finished = subprocess.run([sys.executable, "-c", CRASH], capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in finished.stderr
    assert "in within_a_library" in finished.stderr
