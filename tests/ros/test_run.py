"""A node outlives a callback that fails: rclpy of ROS 2 Jazzy raises on an invalid lifecycle request, for example."""

from __future__ import annotations

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
