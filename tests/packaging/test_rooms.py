"""The rooms of `sam_ros` import each other in one direction only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS: dict[str, set[str]] = {  # what each room may import, besides itself
    "runtime": set(),
    "conversions": {"runtime"},
    "tracking": {"conversions", "runtime"},
    "detection": {"conversions", "runtime", "tracking"},
    "still_images": {"conversions", "runtime", "tracking"},
    "node": {"conversions", "runtime", "tracking", "detection", "still_images"},
    "localization": {"conversions", "runtime"},
    "camera": {"conversions", "runtime"},
    "demo": {"conversions", "runtime", "camera"},
    "annotation": {"conversions", "runtime", "tracking", "camera"},
    "console": {"conversions", "runtime"},
    "rerun_log": {"conversions", "runtime"},
}


def modules(path: Path) -> Iterator[str]:
    """Yield the full names of all modules that a file imports, inside of functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(folder: Path) -> Iterator[str]:
    """Yield the names below `sam_ros` that the files of a folder import, e.g. `tracking`."""
    for path in folder.rglob("*.py"):
        yield from (name.split(".")[1] for name in modules(path) if name.startswith("sam_ros."))


def test_every_module_is_in_a_room() -> None:
    assert {path.name for path in (ROOT / "sam_ros").glob("*.py")} == {"__init__.py"}
    assert {path.parent.name for path in (ROOT / "sam_ros").glob("*/__init__.py")} == set(ROOMS)


def test_the_order_has_no_circle() -> None:
    for room, others in ROOMS.items():
        assert all(room not in ROOMS[other] for other in others)
        assert all(ROOMS[other] <= others for other in others)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_its_place_in_the_order_allows(room: str) -> None:
    names = set(imported(ROOT / "sam_ros" / room))

    assert names - {room} <= ROOMS[room]


def test_the_evaluation_of_the_demo_knows_nothing_of_the_nodes() -> None:
    folder = ROOT / "sam_ros" / "demo" / "evaluation"
    names = {name for path in folder.glob("*.py") for name in modules(path) if name.startswith("sam_ros.")}

    assert all(name.startswith("sam_ros.demo.evaluation") for name in names)
