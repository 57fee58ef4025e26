"""Chaos in brief: the command runs, its account balances, and it writes its report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_brief_chaos_goes_well(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    report = tmp_path / "chaos.md"
    events = ["stamps step back", "tracker killed (-9)"]
    command = [sys.executable, "-m", "benchmarks.node.soak", "--chaos", "--seconds", "0", "--events", *events]
    done = subprocess.run(
        [*command, "--logs", tmp_path, "--report", report], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = report.read_text()
    assert "2 events in" in text
    assert "0 events went wrong" in text
    assert all(f"| {event} |" in text for event in events)
