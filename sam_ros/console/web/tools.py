"""The tools that mark in the picture, with their keys."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TOOLS", "Tool"]


@dataclass(frozen=True)
class Tool:
    """A tool.

    Attributes:
        name: As `picture.js` knows it.
        title: What the operator reads.
        icon: Its Material icon.
        key: Takes it; a capital letter, and typed as a small one.
    """

    name: str
    title: str
    icon: str
    key: str


TOOLS = (
    Tool("point", "Point", "ads_click", "P"),
    Tool("box", "Box", "crop_free", "B"),
    Tool("brush", "Brush", "brush", "M"),
    Tool("example", "Example for a search", "select_all", "E"),
)
