"""The live picture of the page: `picture.js`, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui.element import Element

from sam_ros.console.ros.draft import Box, Draft, Example, Point
from sam_ros.console.web.pictures import FRAME_URL
from sam_ros.conversions.outlines import Outline

__all__ = ["Picture"]


class Picture(Element, component="picture.js"):
    """Show frames of a tracker, and report marks as events.

    Events: `freeze` (number and stamp of the frame that stays, and whether it was asked for by hand), `mark` (number,
    stamp, kind, at, radius, positive), and `release` (the frame need not stay: nothing was marked in it).

    Args:
        locked: Show only, report nothing.
    """

    def __init__(self, *, locked: bool) -> None:
        super().__init__()
        self._props.update(url=FRAME_URL, tracker="", tool="point", negative=False, radius=12, selected=0, hidden=[])
        self._props.update(draft=None, preview=[], found=[], examples=[], locked=locked, opacity=0.35)

    def set(self, name: str, value: Any) -> None:
        """Change a property of the component, and send it if it is another."""
        if self._props.get(name) != value:
            self._props[name] = value

    def freeze(self) -> None:
        """Hold the frame that the browser shows; it answers with the event `freeze`, unless it shows none yet."""
        self.run_method("freeze", True)

    def resume(self) -> None:
        """Go on with the live picture."""
        self.run_method("resume")

    def set_draft(self, draft: Draft | None, preview: Outline) -> None:
        """Show a prompt that is being composed, and what it would give."""
        self.set("draft", None if draft is None else {"steps": [_step(step) for step in draft.steps]})
        self.set("preview", [list(polygon) for polygon in preview])

    def set_examples(self, examples: Sequence[Example]) -> None:
        """Show the boxes of a search."""
        self.set("examples", [{"box": _corners(item.box), "positive": item.positive} for item in examples])


def _corners(box: Box) -> list[float]:
    return [box.x_min, box.y_min, box.x_max, box.y_max]


def _step(step: Any) -> dict[str, Any]:
    if isinstance(step, Point):
        return {"kind": "point", "at": [step.x, step.y], "positive": step.positive}
    if isinstance(step, Box):
        return {"kind": "box", "at": _corners(step)}
    return {"kind": "stroke", "at": list(step.vertices), "radius": step.radius, "erases": step.erases}
