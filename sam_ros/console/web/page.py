"""The page: picture and tools on the left, objects, words, health and settings on the right."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from nicegui import ui
from nicegui.events import GenericEventArguments, KeyEventArguments

from sam_core import ImageError
from sam_ros.console.ros.commands import Commands
from sam_ros.console.ros.frames import crop_of
from sam_ros.console.ros.health import Health
from sam_ros.console.ros.link import TrackerLink
from sam_ros.console.web.dialogs import is_dialog_open
from sam_ros.console.web.health_panel import HealthPanel
from sam_ros.console.web.help import show_help
from sam_ros.console.web.keyboard import press
from sam_ros.console.web.objects_panel import ObjectsPanel
from sam_ros.console.web.picture import Picture
from sam_ros.console.web.prompt_bar import PromptBar
from sam_ros.console.web.settings_panel import SettingsPanel
from sam_ros.console.web.stream import Encoder
from sam_ros.console.web.view import View
from sam_ros.console.web.words_panel import WordsPanel
from sam_ros.conversions.outlines import Outline, outline_of
from sam_ros.runtime.errors import RefusedError
from sam_ros.runtime.texts import legible

__all__ = ["ConsolePage"]

_log = logging.getLogger(__name__)
T = TypeVar("T")
REFRESH = 0.5  # s between two looks at tables and figures; pictures come on their own
LONGEST_REMARK = 300  # characters of a notification


class ConsolePage:
    """One browser's page.

    Args:
        links: Returns the trackers by their names.
        encoder: Makes the small pictures of objects.
        read_only: Show everything, change nothing.

    Attributes:
        view: Its state.
        tool: Name of the tool in use, of `TOOLS`.
        negative: Whether marks say what is not the object.
        remark: What the bar says about the preview.
        refused: Whether the newest prompt was refused, and may be tried in the newest image.
    """

    def __init__(self, links: Callable[[], Mapping[str, TrackerLink]], encoder: Encoder, *, read_only: bool) -> None:
        self._encoder = encoder
        self.view = View(links, read_only=read_only)
        self.tool = "point"
        self.negative = False
        self.remark = ""
        self.refused = False
        self._client = ui.context.client
        self._dark = ui.dark_mode(None)
        ui.colors(primary="#2f6fed", positive="#1a9c55", negative="#d93a3f", warning="#b7791f", info="#2b87b8")
        self._build()
        ui.keyboard(on_key=self._on_key, ignore=["input", "select", "textarea", "button"])
        ui.timer(REFRESH, self._tick)
        ui.timer(REFRESH, self._tick_objects)
        ui.timer(REFRESH, self._tick_settings)

    # --- Layout -------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        with ui.header().classes("sam-header items-center no-wrap gap-3").props("role=banner"):
            ui.icon("center_focus_strong").classes("text-xl text-primary").props("aria-hidden=true")
            ui.label("Console").classes("sam-title").props("role=heading aria-level=1")
            self._trackers = (
                ui.select([], on_change=self._on_tracker)
                .props('dense borderless options-dense aria-label="Tracker"')
                .classes("sam-select")
            )
            self._chip = ui.label().classes("sam-chip").props("role=status")
            ui.space()
            if self.view.read_only:
                ui.label("read-only").classes("sam-chip sam-plain")
            ui.button(icon="dark_mode", on_click=self._swap_dark).props('flat round dense aria-label="Dark or light"')
            ui.button(icon="help_outline", on_click=show_help).props('flat round dense aria-label="Help"')
        with ui.element("main").classes("sam-main"):
            with ui.column().classes("sam-left gap-2"):
                with ui.element("div").classes("sam-stage"):
                    self.picture = Picture(locked=self.view.read_only)
                    self.picture.on("freeze", self._on_freeze)
                    self.picture.on("release", self._on_release)
                    self.picture.on("mark", self._on_mark)
                self.bar = PromptBar(self)
            with ui.column().classes("sam-right gap-0"):
                with ui.tabs().props("dense no-caps align=justify narrow-indicator").classes("w-full") as tabs:
                    self._tabs = {
                        name: ui.tab(name, icon=icon)
                        for name, icon in (
                            ("Objects", "category"),
                            ("Words", "manage_search"),
                            ("Health", "monitor_heart"),
                            ("Settings", "tune"),
                        )
                    }
                self._panels = ui.tab_panels(tabs, value="Objects", animated=False).classes("w-full sam-panels")
                with self._panels:
                    with ui.tab_panel("Objects").classes("p-0"):
                        self._objects = ObjectsPanel(self, self._encoder)
                    with ui.tab_panel("Words").classes("p-0"):
                        self._words = WordsPanel(self)
                    with ui.tab_panel("Health").classes("p-0"):
                        self._health = HealthPanel(self)
                    with ui.tab_panel("Settings").classes("p-0"):
                        self._settings = SettingsPanel(self)
        self.refresh()

    def _tick(self) -> None:
        link = self.view.link
        if link is not None:
            link.look()  # the browser asks for no pictures while one is frozen
            newest = link.frames.newest
            if newest is not None and newest.tracked:  # else nobody knows which objects there are
                self.view.keep_objects([item.id for item in newest.objects])
        self.refresh()
        if self._panels.value == "Health":
            self._health.refresh()

    async def _tick_objects(self) -> None:
        """Show the objects, beside the others: their pictures are waited for."""
        if self._panels.value == "Objects":
            await self._objects.take_pictures()
            self._objects.refresh()

    async def _tick_settings(self) -> None:
        """Show the settings, beside the others: a tracker that is silent is waited for."""
        if self._panels.value == "Settings":
            await self._settings.refresh()

    def refresh(self) -> None:
        """Show the state of picture, tools and search."""
        view, picture, link = self.view, self.picture, self.view.link
        names = view.names
        if self._trackers.options != names or (link is not None and self._trackers.value != link.name):
            self._trackers.set_options(names, value=link.name if link is not None else None)
        self._show_chip(link.health if link is not None else Health())
        picture.set("tracker", link.name if link is not None else "")
        picture.set("tool", self.tool)
        picture.set("negative", self.negative)
        picture.set("selected", view.selected)
        picture.set("hidden", sorted(view.hidden))
        picture.set_draft(view.draft, view.preview)
        picture.set_examples(view.examples)
        picture.set("found", [
            {
                "outline": [list(polygon) for polygon in item.outline],
                "chosen": item.chosen,
                "caption": f"{legible(item.instance.phrase)} {item.instance.score:.2f}",
            }
            for item in view.found
        ])  # fmt: skip
        self.bar.refresh()
        self._words.refresh()

    def _show_chip(self, health: Health) -> None:
        if not health.present:
            text, tone = self.absence(health), "bad"
        elif health.state != "active" or health.paused:
            text, tone = "paused" if health.paused else health.state, "idle"
        else:
            newest = health.samples[-1]
            text, tone = f"active · {newest.rate_out:.1f} Hz", {"ok": "good", "warn": "idle"}.get(health.level, "bad")
            if newest.latency == newest.latency:
                text += f" · {newest.latency:.0f} ms"
        self._chip.set_text(text)
        self._chip.classes(replace=f"sam-chip sam-{tone}")

    def absence(self, health: Health) -> str:
        """Say that there is no tracker, or none any more."""
        if self.view.link is None:
            return "no tracker was found yet"
        seconds = health.age
        return f"not running for {seconds:.0f} s" if seconds < 1e6 else "not running"

    # --- What the operator does ---------------------------------------------------------------------------------------

    def tell(self, text: str, *, good: bool = True) -> None:
        """Say something in a corner of the page."""
        shown = legible(text[:1].upper() + text[1:], LONGEST_REMARK)
        with self._client:  # the dialog or the control that asked may be gone by now
            ui.notify(
                shown,
                type="positive" if good else "negative",
                position="bottom-left",
                timeout=2500 if good else 7000,
                close_button=not good,
            )

    async def attempt(self, what: Callable[[Commands], Awaitable[T]], done: str = "") -> T | None:
        """Ask the tracker, and say what came of it.

        Args:
            what: Asks.
            done: What to say where it was done.

        Returns:
            The answer; None where the tracker refused or answered nothing, and where asking it failed.
        """
        try:
            answer = await what(self.view.commands)
        except (RefusedError, ImageError) as error:
            self.tell(str(error), good=False)
            return None
        except Exception as error:  # whatever it was, what the operator composed must come back
            _log.exception("a command failed")
            self.tell(f"The console failed to ask the tracker: {type(error).__name__}: {error}", good=False)
            return None
        if done:
            self.tell(done)
        return answer

    def use(self, tool: str) -> None:
        """Take another tool of `TOOLS`, by its name."""
        self.tool = tool
        self.refresh()

    def swap_sign(self) -> None:
        """Mark what is not the object, or what is."""
        self.negative = not self.negative
        self.refresh()

    def toggle_freeze(self) -> None:
        """Hold the frame that is shown, or go on."""
        if self.view.frame is None:
            self.picture.freeze()
        else:
            self.go_on()

    def go_on(self) -> None:
        """Show the live picture again; what was composed is dropped."""
        self.view.release()
        self.remark, self.refused = "", False
        self.picture.resume()
        self.refresh()

    async def undo(self) -> None:
        """Take the newest mark back."""
        self.view.undo()
        self.remark = ""
        self._after_release()
        await self._preview()

    def cancel(self) -> None:
        """Drop what is composed, what was found, or the selection."""
        self.view.cancel()
        self._after_release()

    def clear_search(self) -> None:
        """Drop what was found, and the examples."""
        self.view.forget_search()
        self._after_release()

    def _after_release(self) -> None:
        if self.view.frame is None:
            self.go_on()
        self.refresh()

    def select(self, object_id: int) -> None:
        """Select an object, or none if it is selected already."""
        self.view.selected = 0 if object_id == self.view.selected else object_id
        self.refresh()
        self._objects.refresh()

    def hide(self, object_id: int) -> None:
        """Leave an object out of the picture, or show it again."""
        self.view.hide(object_id)
        self.refresh()
        self._objects.refresh()

    async def remove(self, object_id: int) -> None:
        """Stop tracking an object."""
        view = self.view
        link = view.link

        async def remove(commands: Commands) -> None:
            await commands.remove(object_id)
            if view.link is link:
                view.forget_object(object_id)

        await self.attempt(remove, f"object {object_id} is removed")

    async def remove_all(self) -> None:
        """Stop tracking all objects."""
        view = self.view
        link = view.link

        async def reset(commands: Commands) -> None:
            await commands.reset()
            if view.link is link:
                view.keep_objects(())

        await self.attempt(reset, "removed")

    async def accept(self, *_: Any, or_newest: bool = False) -> None:
        """Send the prompt; where it is refused it can be changed and sent again."""
        draft = self.view.take()
        if draft is None:
            return
        self.remark, self.refused = "", False
        self.refresh()
        answer = await self.attempt(lambda commands: commands.add_prompt(draft, or_newest=or_newest))
        if answer is None:
            self.refused = self.view.put_back(draft)
            self.refresh()
            return
        verb = "is corrected" if draft.object_id else "is tracked"
        self.tell(f"Object {answer.object_id} {verb}. {answer.message}".strip())
        if self.view.draft is None and self.view.frame is draft.frame:
            self.view.selected = draft.object_id
            self.go_on()

    # --- What the browser reports -------------------------------------------------------------------------------------

    def _on_tracker(self, event: Any) -> None:
        if isinstance(event.value, str) and self.view.choose(event.value):
            self.go_on()

    def _on_freeze(self, event: GenericEventArguments) -> None:
        try:
            self.view.hold(event.args)
            self.view.frozen = self.view.frozen or event.args.get("by_hand") is True
        except RefusedError as error:
            self.tell(str(error), good=False)
            self.view.frozen = False
            self.picture.resume()
        self.refresh()

    def _on_release(self) -> None:
        self.view.let_go()
        self._after_release()

    async def _on_mark(self, event: GenericEventArguments) -> None:
        try:
            changed = self.view.mark(self.tool, event.args)
        except RefusedError as error:
            self.tell(str(error), good=False)
            self._after_release()
            return
        self._after_release()
        if not changed:
            self._objects.refresh()
        elif self.view.at_once:
            await self.accept()
        else:
            await self._preview()

    async def _preview(self) -> None:
        """Show what the prompt would give, where the tracker can tell."""
        draft, link = self.view.draft, self.view.link
        self.remark, self.view.preview, self.refused = "", (), False
        self.refresh()
        if draft is None or link is None or not (draft.box or any(point.label for point in draft.points)):
            return  # a brushed mask is its own preview, and negative points alone mean nothing in a still image
        if not link.offers("segment_image"):
            self.remark = " · no preview by this tracker"
            self.refresh()
            return
        outline: Outline = ()
        try:
            mask = await self.view.commands.preview(draft)
        except (RefusedError, ImageError) as error:
            remark = f" · no preview: {legible(str(error), 120)}"
        except Exception:
            _log.exception("a preview failed")
            remark = " · no preview: the console failed to ask the tracker"
        else:
            outline = outline_of(crop_of(mask.mask), mask.box.x_offset, mask.box.y_offset)
            alone = " of the new marks alone" if draft.object_id else ""  # without what the tracker remembers
            remark = f" · preview{alone} {mask.predicted_iou:.2f}"
        newest = self.view.draft
        if newest is not None and newest.frame is draft.frame and newest.steps == draft.steps:
            self.view.preview, self.remark = outline, remark
        self.refresh()

    async def _on_key(self, event: KeyEventArguments) -> None:
        if not is_dialog_open(self._client):  # else the keys are the dialog's
            await press(self, event)

    def _swap_dark(self) -> None:
        self._dark.set_value(self._dark.value is not True)
