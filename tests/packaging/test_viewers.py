"""Layouts of viewers: they parse, are complete, and name topics that our nodes have."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = ROOT / "config" / "foxglove" / "tracker.json"
RVIZ = sorted((ROOT / "config" / "rviz").glob("*.rviz"))
PANELS = {"Image", "3D", "DiagnosticSummary", "Plot", "RawMessages"}  # kinds that Foxglove has built in
OTHERS = {"/tf", "/diagnostics"}


def topics() -> set[str]:
    """Return the topics of tracker and localizer under their usual names, as their sources have them."""
    found = set(OTHERS)
    for node, room in (("tracker", "node"), ("tracker", "tracking"), ("localizer", "localization")):
        for path in (ROOT / "sam_ros" / room).glob("*.py"):
            for item in ast.walk(ast.parse(path.read_text())):
                if isinstance(item, ast.Constant) and isinstance(item.value, str) and item.value.startswith("~/"):
                    found.add(f"/{node}/{item.value[2:]}")
    return found


def panels_in(layout: Any) -> Iterator[str]:
    """Yield the panels of a tree of splits."""
    if isinstance(layout, str):
        yield layout
        return
    assert set(layout) <= {"direction", "splitPercentage", "first", "second"}
    assert layout["direction"] in ("row", "column")
    yield from panels_in(layout["first"])
    yield from panels_in(layout["second"])


def topics_in(value: Any) -> Iterator[str]:
    """Yield every topic, or path into one, below a panel's configuration."""
    if isinstance(value, dict):
        yield from (key for key in value if key.startswith("/"))
        for inner in value.values():
            yield from topics_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from topics_in(inner)
    elif isinstance(value, str) and value.startswith("/"):
        yield value


def test_the_layout_of_foxglove_shows_each_of_its_panels_once() -> None:
    layout = json.loads(LAYOUT.read_text())
    shown = list(panels_in(layout["layout"]))

    assert {"configById", "globalVariables", "userNodes", "playbackConfig", "layout"} == set(layout)
    assert sorted(shown) == sorted(layout["configById"])
    assert {name.split("!")[0] for name in shown} == PANELS


def test_the_layout_of_foxglove_names_topics_that_exist() -> None:
    named = {re.split(r"\.", path)[0] for path in topics_in(json.loads(LAYOUT.read_text())["configById"])}

    assert named <= topics()
    assert {"/tracker/overlay", "/tracker/click", "/tracker/events", "/localizer/markers", "/diagnostics"} <= named


@pytest.mark.parametrize("path", RVIZ, ids=lambda path: path.stem)
def test_configurations_of_rviz_name_topics_that_exist(path: Path) -> None:
    manager = yaml.safe_load(path.read_text())["Visualization Manager"]
    named = {display["Topic"]["Value"] for display in manager["Displays"] if "Topic" in display}

    assert named
    assert named <= topics()
    assert all(display["Class"].startswith("rviz_default_plugins/") for display in manager["Displays"])
