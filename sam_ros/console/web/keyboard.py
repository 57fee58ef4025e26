"""What the keys do; `help.KEYS` lists them for the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui.events import KeyEventArguments

from sam_ros.console.web.help import show_help
from sam_ros.console.web.tools import TOOLS

if TYPE_CHECKING:
    from sam_ros.console.web.page import ConsolePage

__all__ = ["press"]


async def press(page: ConsolePage, event: KeyEventArguments) -> None:
    """Do what a key that was pressed asks of a page."""
    if not event.action.keydown or event.action.repeat:
        return
    key, view = str(event.key), page.view
    plain = not (event.modifiers.ctrl or event.modifiers.meta or event.modifiers.alt)
    if key.lower() == "z" and (plain or event.modifiers.ctrl or event.modifiers.meta):
        await page.undo()
    elif key == "?":
        show_help()
    elif key == "Escape":
        page.cancel()
    elif plain and key.lower() == "f":
        page.toggle_freeze()
    elif view.read_only or not plain:
        return
    elif key == "Enter":
        await page.accept()
    elif key.lower() == "x":
        page.swap_sign()
    elif key == "Delete" and view.selected:
        await page.remove(view.selected)
    elif key.lower() == "h" and view.selected:
        page.hide(view.selected)
    elif (tool := next((tool for tool in TOOLS if tool.key == key.upper()), None)) is not None:
        page.use(tool.name)
