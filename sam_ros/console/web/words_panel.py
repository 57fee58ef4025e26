"""Finding by words and examples: what is found with scores, accept all or some, follow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from nicegui import ui
from sam_msgs.msg import ConceptInstance

from sam_ros.console.ros.commands import LONGEST_TEXT, MOST_PHRASES, Commands
from sam_ros.console.ros.frames import Frame
from sam_ros.console.web.view import Found
from sam_ros.conversions.stamps import nanoseconds
from sam_ros.runtime.texts import legible

if TYPE_CHECKING:
    from sam_ros.console.web.page import ConsolePage

__all__ = ["WordsPanel"]

PERIOD = 2.0  # s between two searches for what is followed
ABSENT = "No detector is loaded. Start the tracker with a detector, e.g. detector:=sam3_nano, to find things by words."


class WordsPanel:
    """Build and refresh the search.

    Args:
        page: The page that it belongs to.
    """

    def __init__(self, page: ConsolePage) -> None:
        self._page = page
        self._shown: tuple[object, ...] = ()
        self._accepting = False
        with ui.column().classes("w-full gap-2 p-3"):
            self._missing = ui.row().classes("sam-hint w-full items-center")
            with self._missing:
                self._missing_text = ui.label().classes("grow")
                self._load = ui.button("Load detector", on_click=self._load_detector).props("outline dense no-caps")
            self._words = (
                ui.input("What to look for", placeholder="yellow cup, red circle")
                .props(f'outlined dense clearable maxlength={MOST_PHRASES * LONGEST_TEXT} hint="Several: by commas"')
                .classes("w-full")
                .on("keydown.enter", self._find)
            )
            with ui.row().classes("w-full items-center no-wrap gap-3 mt-2"):
                ui.label("Score above").classes("text-sm whitespace-nowrap")
                self._score = (
                    ui.slider(min=0.05, max=0.95, step=0.05, value=0.5)
                    .props('label aria-label="Lowest score"')
                    .classes("grow")
                )
            with ui.row().classes("w-full gap-2"):
                self._find_button = ui.button("Find", icon="search", on_click=self._find).props("unelevated no-caps")
                self._follow_button = ui.button("Follow", icon="sync", on_click=self._follow).props("outline no-caps")
                self._follow_button.tooltip("Look for it again and again, and track what is found")
                ui.space()
                self._clear = ui.button("Clear", on_click=page.clear_search).props("flat no-caps")
            self._examples = ui.label().classes("sam-sub")
            self._results = ui.column().classes("w-full gap-0").props('role=group aria-label="Found"')
            self._accept = ui.button("Track chosen", icon="done", on_click=self._accept_chosen).props(
                "unelevated no-caps"
            )
            self._following = ui.column().classes("w-full gap-1")

    # --- What is done -------------------------------------------------------------------------------------------------

    def _phrases(self) -> list[str]:
        return [part.strip() for part in (self._words.value or "").split(",") if part.strip()]

    async def _find(self) -> None:
        page, view = self._page, self._page.view
        link, score = view.link, float(self._score.value or 0.5)
        frame = view.frame or (link.frames.newest if link is not None else None)
        live = view.frame is None
        self._find_button.props("loading")
        try:
            answer = await page.attempt(
                lambda commands: commands.detect(frame, self._phrases(), view.examples, score, or_newest=live)
            )
        finally:
            self._find_button.props(remove="loading")
        if answer is None or link is None or view.link is not link:  # another tracker is looked at meanwhile
            return
        stamp = nanoseconds(answer.stamp)
        view.found = tuple(Found.of(instance) for instance in answer.instances)
        view.searched = frame if frame is not None and frame.stamp == stamp else link.frames.frame_of(stamp)
        if view.searched is None and view.found:
            page.tell("The searched picture is not at hand any more: freeze the picture, then find.", good=False)
        elif not view.found:
            page.tell("Nothing was found." + (f" {answer.message}" if answer.message else ""), good=False)
        page.refresh()

    async def _accept_chosen(self) -> None:
        page, view = self._page, self._page.view
        link, frame, chosen = view.link, view.searched, [item.instance for item in view.found if item.chosen]
        if frame is None or not chosen or self._accepting:
            return
        self._accepting = True
        page.refresh()
        try:
            for instance in chosen:
                if await page.attempt(partial(_accept, instance, frame)) is None or view.link is not link:
                    return
                view.unchoose(instance)  # so that another try leaves it out
        finally:
            self._accepting = False
            page.refresh()
        page.tell(f"{len(chosen)} tracked")
        if not any(item.chosen for item in view.found):  # else another search was made meanwhile
            view.forget_search()
            page.go_on()

    async def _follow(self) -> None:
        score = float(self._score.value or 0.5)
        for phrase in self._phrases()[:MOST_PHRASES] or [""]:
            await self._page.attempt(partial(_follow, phrase, score), f"following “{phrase}”")

    async def _load_detector(self) -> None:
        await self._page.attempt(lambda commands: commands.load_detector(), "the detector is loaded")

    # --- What is shown ------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show what can be searched, and what was found."""
        view = self._page.view
        health = view.link.health if view.link is not None else None
        state = health.detector if health is not None and health.present else ""
        usable = state in ("idle", "detecting") and not view.read_only
        self._missing.set_visibility(not usable and not view.read_only)
        self._load.set_visibility(state == "unloaded")
        self._missing_text.set_text(
            "The detector is not loaded." if state == "unloaded" else f"The detector is {state}." if state else ABSENT
        )
        self._find_button.set_enabled(usable)
        self._follow_button.set_enabled(usable)
        self._clear.set_visibility(bool(view.found or view.examples))
        positive = sum(example.positive for example in view.examples)
        self._examples.set_text(
            f"{positive} positive and {len(view.examples) - positive} negative examples" if view.examples else ""
        )
        self._accept.set_visibility(bool(view.found) and not view.read_only)
        self._accept.set_enabled(
            view.searched is not None and any(item.chosen for item in view.found) and not self._accepting
        )
        followed = health.followed if health is not None else ()
        shown = (view.found, followed)
        if shown != self._shown:
            self._shown = shown
            self._list_found(view.found)
            self._list_followed(followed)

    def _list_found(self, found: tuple[Found, ...]) -> None:
        self._results.clear()
        with self._results:
            for index, item in enumerate(found):
                tracked = f" · is object {item.instance.object_id}" if item.instance.object_id else ""
                ui.checkbox(
                    f"{legible(item.instance.phrase)} · {item.instance.score:.2f}{tracked}",
                    value=item.chosen,
                    on_change=lambda event, index=index: self._choose(index, bool(event.value)),
                ).props("dense").classes("py-1")

    def _choose(self, index: int, chosen: bool) -> None:
        view = self._page.view
        view.choose_found(index, chosen)
        self._shown = (view.found, self._shown[1] if len(self._shown) > 1 else ())  # its own checkbox shows it already
        self._page.refresh()

    def _list_followed(self, followed: tuple[str, ...]) -> None:
        self._following.clear()
        if not followed:
            return
        with self._following:
            ui.label("Followed").classes("sam-head")
            for phrase in followed:
                with ui.row().classes("w-full items-center"):
                    ui.icon("sync").classes("text-primary")
                    ui.label(legible(phrase)).classes("grow")
                    if not self._page.view.read_only:
                        ui.button(icon="close", on_click=lambda _, one=phrase: self._unfollow(one)).props(
                            "flat round dense size=sm"
                        ).props["aria-label"] = f"Stop following {legible(phrase)}"

    async def _unfollow(self, phrase: str) -> None:
        await self._page.attempt(lambda commands: commands.unfollow(phrase), f"“{phrase}” is not followed any more")


async def _accept(instance: ConceptInstance, frame: Frame, commands: Commands) -> int:
    return await commands.accept(instance, frame)


async def _follow(phrase: str, score: float, commands: Commands) -> str:
    return await commands.follow(phrase, score, PERIOD)
