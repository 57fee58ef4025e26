"""The picture's script without a browser, in Node: which frame a press, a drag and a lift mean."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import sam_ros.console.web

NODE = shutil.which("node")
SCRIPT = Path(sam_ros.console.web.__file__).with_name("picture.js")

# The component's methods on a plain object; what it reports is collected.
STAGE = """
import component from "./picture.mjs";
const reported = [];
const picture = {
  ...component.data(), ...component.methods, draw() {}, drag: null, negative: false, locked: false, radius: 9,
  facts: { number: 5, stamp: "55", objects: [] }, paths: new Map(),
  $emit: (name, data) => reported.push([name, data?.number ?? 0]),
  $refs: { marks: {
    setPointerCapture() {}, getBoundingClientRect: () => ({ left: 0, top: 0, width: 640, height: 480 }),
  } },
};
const at = (x, pointerType = "mouse") => ({ button: 0, pointerId: 1, clientX: x, clientY: 10, pointerType });
%s
console.log(JSON.stringify({ frozen: picture.frozen, reported }));
"""

pytestmark = pytest.mark.skipif(NODE is None, reason="no Node is installed")


@pytest.fixture
def play(tmp_path: Path) -> Any:
    def play(tool: str, *steps: str) -> tuple[bool, list[list[Any]]]:
        (tmp_path / "picture.mjs").write_text(SCRIPT.read_text())
        script = f"picture.tool = '{tool}';\n" + "\n".join(f"picture.{step};" for step in steps)
        (tmp_path / "stage.mjs").write_text(STAGE % script)
        done = subprocess.run([str(NODE), tmp_path / "stage.mjs"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        state = json.loads(done.stdout)
        return state["frozen"], state["reported"]

    return play


def test_a_click_means_the_frame_that_was_pressed_on(play: Any) -> None:
    assert play("point", "press(at(9))") == (True, [["freeze", 5]])
    assert play("point", "press(at(9))", "lift(at(9))") == (True, [["freeze", 5], ["mark", 5]])
    frozen, reported = play("point", "press(at(9))", "resume()", "lift(at(9))")  # an earlier answer came meanwhile
    assert (frozen, reported[-1]) == (True, ["mark", 5])


@pytest.mark.parametrize(
    ("tool", "steps"),
    [
        ("box", ["press(at(9))", "lift(at(9))"]),  # a click with the box tool
        ("example", ["press(at(9))", "lift(at(10))"]),
        ("point", ["press(at(9, 'touch'))", "move(at(99, 'touch'))", "lift(at(99, 'touch'))"]),  # a finger scrolls
        ("point", ["press(at(9, 'touch'))", "cancel()"]),
        ("point", ["press(at(9, 'touch'))", "press(at(99, 'touch'))", "cancel()", "cancel()"]),  # two fingers zoom
        ("brush", ["press(at(9))", "cancel()"]),
    ],
)
def test_what_marks_nothing_does_not_hold_the_picture(play: Any, tool: str, steps: list[str]) -> None:
    assert play(tool, *steps) == (False, [["freeze", 5], ["release", 0]])
    assert play(tool, "freeze()", *steps) == (True, [["freeze", 5]]), "what was frozen by hand stays"


def test_the_pointer_is_over_the_smallest_object_that_is_shown(play: Any) -> None:
    """As a click, which the server tests on the masks."""
    objects = "[{ id: 1, area: 900 }, { id: 2, area: 30 }, { id: 3, area: 8 }]"
    everywhere = "$refs.image = { getContext: () => ({ isPointInPath: () => true }) }"
    steps = [f"facts.objects = {objects}", everywhere, "hidden = [3]", "move(at(9))"]
    assert play("point", *steps, "$emit('hover', { number: picture.hover })")[1] == [["hover", 2]]


def test_another_tracker_ends_a_press(play: Any) -> None:
    assert play("point", "press(at(9))", "restart()", "lift(at(9))") == (False, [["freeze", 5]])
