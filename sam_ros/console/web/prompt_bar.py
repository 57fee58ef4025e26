"""The tools beside the picture, and the bar with the prompt that is being composed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from sam_ros.console.ros.commands import LONGEST_TEXT
from sam_ros.console.web.tools import TOOLS

if TYPE_CHECKING:
    from sam_ros.console.web.page import ConsolePage

__all__ = ["PromptBar"]


class PromptBar:
    """Build and refresh the controls under the picture.

    Args:
        page: The page that they belong to.
    """

    def __init__(self, page: ConsolePage) -> None:
        self._page = page
        self._tools: dict[str, ui.button] = {}
        with ui.row().classes("sam-toolbar w-full items-center gap-1").props('role=toolbar aria-label="Tools"'):
            if not page.view.read_only:
                for tool in TOOLS:
                    button = ui.button(icon=tool.icon, on_click=lambda _, name=tool.name: page.use(name)).props(
                        f'flat round dense aria-label="{tool.title}"'
                    )
                    button.tooltip(f"{tool.title} ({tool.key})")
                    self._tools[tool.name] = button
                ui.separator().props("vertical").classes("mx-1")
                self._sign = ui.button(icon="add_circle", on_click=page.swap_sign).props("flat round dense")
                with self._sign:
                    self._sign_tip = ui.tooltip("")
                self._radius = (
                    ui.slider(min=2, max=80, value=12, on_change=lambda event: page.picture.set("radius", event.value))
                    .props('label aria-label="Radius of the brush in pixels"')
                    .classes("w-24 mx-2")
                )
            self._freeze = ui.button(icon="pause", on_click=page.toggle_freeze).props("flat round dense")
            with self._freeze:
                ui.tooltip("Freeze or go on (F)")
            ui.space()
            if not page.view.read_only:
                ui.switch("At once", on_change=lambda event: setattr(page.view, "at_once", bool(event.value))).props(
                    "dense"
                ).tooltip("Send each mark without asking")
        self._card = ui.row().classes("sam-draft w-full items-center gap-2").props('role=region aria-label="Prompt"')
        with self._card:
            self._text = ui.label().classes("text-sm grow")
            self._label = (
                ui.input(placeholder="Label", on_change=lambda event: page.view.call(event.value or ""))
                .props(f'dense outlined maxlength={LONGEST_TEXT} aria-label="Label of the new object"')
                .classes("w-40")
                .on("keydown.enter.prevent", page.accept)
            )
            ui.button(icon="undo", on_click=page.undo).props('flat round dense aria-label="Undo"').tooltip("Undo (Z)")
            ui.button("Cancel", on_click=page.cancel).props("flat dense no-caps").tooltip("Esc")
            self._late = ui.button("In the newest image", on_click=lambda: page.accept(or_newest=True)).props(
                "outline dense no-caps"
            )
            self._accept = ui.button("Track", on_click=page.accept).props("unelevated dense no-caps").classes("px-4")
        self._card.set_visibility(False)

    def refresh(self) -> None:
        """Show the state of the page."""
        page, view = self._page, self._page.view
        for tool, button in self._tools.items():
            pressed = tool == page.tool
            button.props(f"color={'primary' if pressed else 'grey-7'} aria-pressed={'true' if pressed else 'false'}")
        if self._tools:
            name = "Negative marks" if page.negative else "Positive marks"
            self._sign.props(
                f"icon={'remove_circle' if page.negative else 'add_circle'} "
                f'color={"negative" if page.negative else "positive"} aria-label="{name}"'
            )
            self._sign_tip.set_text(f"{name} (X swaps; the right button does the other)")
            self._radius.set_visibility(page.tool == "brush")
        frozen = view.frame is not None
        self._freeze.props(f'icon={"play_arrow" if frozen else "pause"} aria-label="{"Go on" if frozen else "Freeze"}"')
        draft = view.draft
        self._card.set_visibility(draft is not None)
        if draft is not None:
            count = f"{len(draft.steps)} mark{'s' if len(draft.steps) != 1 else ''}"
            target = f"Correct object {draft.object_id}" if draft.object_id else "New object"
            self._text.set_text(f"{target} · {count}{page.remark}")
            self._label.set_visibility(not draft.object_id)
            self._label.set_value(draft.label)  # one that was refused comes back with its label
            self._accept.set_text("Correct" if draft.object_id else "Track")
        else:
            self._label.set_value("")
        self._late.set_visibility(page.refused)
