"""Shared by the tests of `sam_core`: one thread, and a table of parity figures at the end of the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmarks.reference.weights import make_lively
from sam_core import Tracker, build_tracker

# Small models gain nothing from two threads, and on a loaded machine two can be many times slower.
torch.set_num_threads(1)

_FIGURES = pytest.StashKey[dict[str, float]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Return a function that records a relative error for the table."""
    figures = request.config.stash.setdefault(_FIGURES, {})

    def record(name: str, error: float) -> None:
        figures[f"{request.node.name}: {name}"] = error

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the recorded errors."""
    figures = terminalreporter.config.stash.get(_FIGURES, {})
    if figures:
        terminalreporter.section("relative errors against the official SAM 2 code (float32)")
        for name, error in figures.items():
            terminalreporter.write_line(f"{error:9.1e}  {name}")


@pytest.fixture(scope="session")
def micro_tracker() -> Tracker:
    """Return a small tracker with fixed random weights in which objects count as present."""
    torch.manual_seed(0)
    tracker = build_tracker("sam2.1_micro", device="cpu", dtype="float32")
    make_lively(tracker.model)
    return tracker
