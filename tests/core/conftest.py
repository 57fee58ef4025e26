"""Shared by the tests of `sam_core`: one thread, and a table of parity figures at the end of the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmarks.reference.weights import make_lively
from sam_core import Tracker, build_tracker

# Small models gain nothing from two threads, and on a loaded machine two can be many times slower.
torch.set_num_threads(1)

_ERROR = "relative error"  # prefix of the properties that a test records; they reach us from every pytest worker


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    """Return a function that records a relative error for the table."""
    return lambda name, error: record_property(f"{_ERROR}: {name}", float(error))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the recorded errors."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    rows = [
        f"{error:9.1e}  {report.nodeid.rpartition('::')[2]}{name.removeprefix(_ERROR)}"
        for report in reports
        for name, error in getattr(report, "user_properties", [])
        if name.startswith(_ERROR)
    ]
    if rows:
        terminalreporter.section("relative errors against the official SAM 2 code (float32)")
        for row in rows:
            terminalreporter.write_line(row)


@pytest.fixture(scope="session")
def micro_tracker() -> Tracker:
    """Return a small tracker with fixed random weights in which objects count as present."""
    torch.manual_seed(0)
    tracker = build_tracker("sam2.1_micro", device="cpu", dtype="float32")
    make_lively(tracker.model)
    return tracker
