"""Dialogs over the page, and whether one is open: the keys belong to it then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import Client, ui

__all__ = ["is_dialog_open", "open_dialog"]


@contextmanager
def open_dialog(title: str) -> Iterator[ui.dialog]:
    """Open a dialog; what is built within the context is below its title. It is deleted when it is closed."""
    with ui.dialog(value=True) as dialog, ui.card():
        ui.label(title).classes("text-base font-medium").props("role=heading aria-level=2")
        yield dialog
    dialog.on("hide", dialog.delete)


def is_dialog_open(client: Client) -> bool:
    """Return whether a page has an open dialog."""
    return any(isinstance(element, ui.dialog) and element.value for element in client.elements.values())
