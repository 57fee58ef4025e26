"""The page without a browser: what happens while a tracker has not answered yet."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from sam_msgs.msg import ConceptInstance, TrackedObject, TrackedObjectArray
from sam_msgs.srv import RemoveObject
from std_msgs.msg import Header
from std_srvs.srv import Trigger

pytest.importorskip("nicegui")

from nicegui import Client, ui
from nicegui.events import KeyboardAction, KeyboardKey, KeyboardModifiers
from nicegui.page import page as route
from nicegui.slot import Slot

from sam_ros.console.web import server
from sam_ros.console.web.help import show_help
from sam_ros.console.web.page import ConsolePage
from sam_ros.console.web.view import Found
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import to_time
from tests.ros.console.page_rig import SECOND, SlowLink, begin, mark, report, settle, stage


@pytest.mark.parametrize("number", [0, -5, 2**32, 2**70, True, 1.0, "7", None])
def test_what_is_no_identity_is_not_acted_on(links: dict[str, SlowLink], number: Any) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        acted: list[int] = []
        page._objects._on(number, acted.append)
        assert acted == []
        page._objects._on(2**32 - 1, acted.append)
        assert acted == [2**32 - 1]

    stage(links, play)


def test_an_answer_is_told_though_the_dialog_that_asked_is_gone(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        with page.picture.client:
            dialog = ui.card()

        async def ask(slot: Slot) -> None:
            with slot:  # as for an event of the dialog
                await page.attempt(lambda commands: commands.remove(7), "removed")

        task = asyncio.create_task(ask(dialog.default_slot))
        await settle()
        dialog.delete()
        page.picture.client.outbox.updates.clear()  # as if they had been sent
        del dialog
        gc.collect()
        link.asked[-1][2].set_result(RemoveObject.Response(success=True))
        await task

    assert stage(links, play) == ["Removed"]


def test_the_selection_ends_with_the_object(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        link.show(2 * SECOND, 7, 8)
        page.select(7)
        page.hide(8)
        page._tick()
        assert (page.view.selected, page.view.hidden) == (7, {8})
        link.show(3 * SECOND, 9)  # another browser removed them, or the tracker began anew
        page._tick()
        assert (page.view.selected, page.view.hidden) == (0, frozenset())

        page.select(9)
        for success, selected in ((False, 9), (True, 0)):
            task = begin(page, page.remove_all())
            await settle()
            link.asked[-1][2].set_result(Trigger.Response(success=success, message="No."))
            await task
            assert page.view.selected == selected

    assert stage(links, play) == ["No.", "Removed"]


def test_the_table_is_sent_only_where_it_has_changed(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        table, queued = page._objects._table, page.picture.client.outbox.updates
        link.show(2 * SECOND, 7)
        await page._tick_objects()
        (row,) = table.rows
        assert row["thumbnail"].startswith("data:image/jpeg")
        queued.clear()
        await page._tick_objects()
        assert table.id not in queued
        page.select(7)
        assert table.id in queued
        assert (table.rows[0]["selected"], table.rows[0]["thumbnail"]) == (True, row["thumbnail"])

        page.view.choose("/b")
        links["/b"].show(2 * SECOND, 7)
        page._objects.refresh()
        assert table.rows[0]["thumbnail"] == "", "the picture is of another tracker's object"

    stage(links, play)


def test_without_results_the_table_says_why_it_is_empty(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        def said() -> str:
            page._objects.refresh()
            assert page._objects._table.visible != page._objects._nothing.visible
            return page._objects._nothing.text if page._objects._nothing.visible else ""

        link.show(2 * SECOND, 7)
        assert said() == ""
        link.show(3 * SECOND)
        assert "Nothing is tracked yet" in said()
        link.frames._clock = lambda: time.monotonic() + 60.0
        link.frames.add_image(
            array_to_image(np.zeros((40, 60, 3), np.uint8), "rgb8", Header(stamp=to_time(9 * SECOND)))
        )
        assert "when a tracker runs" in said()
        for state, words in (("active, paused", "paused"), ("inactive", "inactive"), ("active", "No results")):
            report(link, state=state)
            assert words in said()

    stage(links, play)


def test_only_a_frame_that_is_shown_is_frozen_by_hand(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        page.toggle_freeze()  # the browser shows none yet, and does not answer
        await page._on_mark(mark(link))
        await page.undo()
        assert page.view.frame is None

        page.toggle_freeze()
        page._on_freeze(mark(link, by_hand=True))
        await page._on_mark(mark(link))
        await page.undo()
        assert page.view.frame is not None
        page._on_freeze(mark(link, by_hand=False))
        assert page.view.frozen, "a press in it changes nothing"

    stage(links, play)


def key(name: str) -> Any:
    """What a browser sends for a key that is pressed."""
    return SimpleNamespace(
        action=KeyboardAction(keydown=True, keyup=False, repeat=False),
        key=KeyboardKey(name=name, code=name, location=0),
        modifiers=KeyboardModifiers(alt=False, ctrl=False, meta=False, shift=False),
    )


def test_each_tool_has_a_key_a_button_and_a_line_of_the_help(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        with page.picture.client:
            show_help()
        (dialog,) = (item for item in page.picture.client.elements.values() if isinstance(item, ui.dialog))
        told = " ".join(item.text for item in dialog.descendants() if isinstance(item, ui.label))
        dialog.close()
        for letter, tool, title in (("p", "point", "point"), ("b", "box", "box"), ("m", "brush", "brush"),
                                    ("e", "example", "example for a search")):  # fmt: skip
            await page._on_key(key(letter))
            assert page.tool == page.picture._props["tool"] == tool
            assert page.bar._tools[tool].props["aria-pressed"] == "true"
            assert letter.upper() in told
            assert title in told

    stage(links, play)


@pytest.mark.parametrize("asks", ["help", "rename", "save", "load", "reset"])
def test_keys_do_not_act_through_an_open_dialog(links: dict[str, SlowLink], asks: str) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        await page._on_mark(mark(link))
        page.view.selected = 7
        panel = page._objects
        actions = {
            "help": show_help,
            "rename": lambda: panel._ask_name(7),
            "save": panel._ask_save,
            "load": panel._ask_load,
            "reset": panel._ask_reset,
        }
        with page.picture.client:
            actions[asks]()
        for name in ("Escape", "z", "h", "x", "f", "?", "Enter", "Delete"):
            await page._on_key(key(name))
            assert page.view.draft is not None, name
        assert link.asked == []
        assert (page.view.selected, page.view.hidden, page.negative) == (7, frozenset(), False)

        (dialog,) = (item for item in page.picture.client.elements.values() if isinstance(item, ui.dialog))
        dialog.close()
        await page._on_key(key("Escape"))
        assert page.view.draft is None, "the keys are the page's again"

    stage(links, play)


def test_a_silent_tracker_does_not_stop_the_page(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        page._panels.value = "Settings"
        waiting = begin(page, page._tick_settings())
        await settle()
        page._settings._state_shown = "another state"
        link._looked = -1e9
        page._tick()
        assert link.watched
        waiting.cancel()

    stage(links, play)


def strings(data: Any) -> Iterator[str]:
    """Yield all texts in nested lists and dictionaries."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        for item in data:
            yield from strings(item)
    elif isinstance(data, str):
        yield data


def test_texts_of_others_are_shown_without_their_control_characters(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        values = [KeyValue(key="state", value="active"), KeyValue(key="a\x1b", value="b\x1b")]
        link.add_report(DiagnosticStatus(message="m\x1b", hardware_id="h\x1b", values=values))
        header = Header(stamp=to_time(2 * SECOND))
        link.frames.add_image(array_to_image(np.zeros((40, 60, 3), np.uint8), "rgb8", header))
        link.frames.add_result(TrackedObjectArray(header=header, objects=[TrackedObject(id=1, label="l\x1b")]))
        page.view.found = (Found.of(ConceptInstance(phrase="p\x1b")),)
        for panel in (page, page._health, page._objects):
            panel.refresh()  # type: ignore[attr-defined]
        shown = set(strings([element._to_dict() for element in page.picture.client.elements.values()]))
        assert not any("\x1b" in text for text in shown)
        for letter in "abmhlp":
            assert any(f"{letter}\\x1b" in text for text in shown), letter

    stage(links, play)


def test_a_page_that_is_one_too_many_is_loaded_again_or_ends(ros: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "DISMISSAL", 0.0)

    async def run() -> None:
        with Client(route("")) as client:
            before = server.open_pages()
            client.tab_id = "a"  # as NiceGUI does when the browser connects
            assert server.open_pages() == before + 1
            await server.dismiss(client)
            assert [message[1] for message in client.outbox.messages] == ["open"]
        assert client.is_deleted
        assert server.open_pages() == before

    asyncio.run(run())
