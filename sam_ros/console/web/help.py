"""The list of what mouse and keys do."""

from __future__ import annotations

from nicegui import ui

from sam_ros.console.web.dialogs import open_dialog
from sam_ros.console.web.tools import TOOLS

__all__ = ["show_help"]

KEYS = (
    ("Left button", "select the object there; elsewhere begin a new one, or correct the selected one"),
    ("Right button, or X", "what is not the object"),
    ("  ".join(tool.key for tool in TOOLS), ", ".join(tool.title.lower() for tool in TOOLS)),
    ("F", "freeze the picture, or go on"),
    ("Enter", "track, or correct"),
    ("Z", "undo the newest mark"),
    ("Esc", "drop the prompt, the search, the selection"),
    ("Delete   H", "remove, or hide, the selected object"),
    ("Arrows, Space, N", "with the picture focused: move a cursor, mark, mark negatively"),
    ("?", "this list"),
)


def show_help() -> None:
    """Open the list."""
    with open_dialog("Mouse and keys") as dialog:
        with ui.grid(columns="auto 1fr").classes("gap-x-4 gap-y-2"):
            for key, meaning in KEYS:
                ui.label(key).classes("sam-key")
                ui.label(meaning).classes("text-sm")
        ui.label(
            "A mark freezes the picture: the object is tracked from the very image that you marked, with its stamp."
        ).classes("sam-sub")
        ui.button("Close", on_click=dialog.close).props("flat no-caps").classes("self-end")
