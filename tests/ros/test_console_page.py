"""The page without a browser: what happens while a tracker has not answered yet."""

from __future__ import annotations

import asyncio
import copy
import gc
import time
from collections.abc import Callable, Coroutine, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rcl_interfaces.msg import (
    ListParametersResult,
    ParameterDescriptor,
    ParameterType,
    ParameterValue,
    SetParametersResult,
)
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from rclpy.node import Node
from sam_msgs.msg import ConceptInstance, ImageMask, TrackedObject, TrackedObjectArray
from sam_msgs.srv import AddPrompt, DetectConcept, RemoveObject, SegmentImage, UnfollowConcept
from std_msgs.msg import Header
from std_srvs.srv import Trigger

pytest.importorskip("nicegui")

from nicegui import Client, ui
from nicegui.events import KeyboardAction, KeyboardKey, KeyboardModifiers
from nicegui.page import page as route
from nicegui.slot import Slot

from sam_core.streaming.prompt import MAX_LABEL
from sam_ros.console.ros.link import TrackerLink
from sam_ros.console.web import server
from sam_ros.console.web.help import show_help
from sam_ros.console.web.page import ConsolePage
from sam_ros.console.web.settings_panel import _read_value
from sam_ros.console.web.stream import Encoder
from sam_ros.console.web.view import Found
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import to_time
from sam_ros.runtime.errors import RefusedError

SECOND = 10**9
TIMEOUT = 60.0  # s after which a play is stuck


class SlowLink(TrackerLink):
    """A link whose tracker answers when the test says so.

    Attributes:
        asked: The calls so far: name of the service, request and answer to come.
    """

    def __init__(self, node: Node, name: str) -> None:
        super().__init__(node, name, image="", most_bytes=2**24)
        self.asked: list[tuple[str, Any, asyncio.Future[Any]]] = []
        self.offered = {"add_prompt"}

    def offers(self, service: str) -> bool:
        return service in self.offered

    async def call(self, service: str, request: Any, timeout: float = 15.0) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.asked.append((service, copy.deepcopy(request), answer))
        return await answer

    def show(self, stamp: int, *ids: int) -> None:
        """Receive an image and its result, in which these objects are tracked."""
        header = Header(stamp=to_time(stamp))
        self.frames.add_image(array_to_image(np.zeros((40, 60, 3), np.uint8), "rgb8", header))
        objects = [TrackedObject(id=object_id, track_state=TrackedObject.TRACK_TRACKED) for object_id in ids]
        for item in objects:
            item.box.width = item.box.height = 8
        self.frames.add_result(TrackedObjectArray(header=header, objects=objects))


@pytest.fixture
def links(ros: None) -> Iterator[dict[str, SlowLink]]:
    node = Node("test_console_page")
    links = {name: SlowLink(node, name) for name in ("/a", "/b")}
    links["/a"].show(SECOND)
    yield links
    node.destroy_node()


def stage(links: dict[str, SlowLink], play: Callable[[ConsolePage, SlowLink], Coroutine[Any, Any, None]]) -> list[str]:
    """Open a page of /a, and return what it says while the play is on."""
    said: list[str] = []

    async def run() -> None:
        with Client(route("")) as client:
            page = ConsolePage(lambda: links, encoder, read_only=False)
            await asyncio.wait_for(play(page, links["/a"]), TIMEOUT)
            said.extend(message[2]["message"] for message in client.outbox.messages if message[1] == "notify")
        client.delete()

    encoder = Encoder()
    try:
        asyncio.run(run())
    finally:
        encoder.stop()
    return said


def mark(link: SlowLink, x: float = 30.0, **more: Any) -> Any:
    """What a browser sends for a mark in the newest frame."""
    frame = link.frames.newest
    assert frame is not None
    return SimpleNamespace(
        args={"number": frame.number, "stamp": str(frame.stamp), "kind": "point", "at": [x, 30.0], **more}
    )


def begin(page: ConsolePage, doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Let the page do something, as for an event of the browser."""

    async def run() -> None:
        with page.picture.client:
            await doing

    return asyncio.create_task(run())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_prompt_is_sent_once_and_comes_back_where_it_is_refused(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        await page._on_mark(mark(link))
        page.view.call("cup")
        first, second = begin(page, page.accept()), begin(page, page.accept())  # Enter, twice
        await settle()
        assert len(link.asked) == 1
        assert page.view.draft is None, "a label that is typed now is not of this one"
        assert page.view.frame is not None, "the picture stays"
        link.asked[0][2].set_result(AddPrompt.Response(success=False, message="No."))
        await asyncio.gather(first, second)
        assert page.refused
        assert page.view.draft is not None
        assert (page.view.draft.label, len(page.view.draft.steps)) == ("cup", 1)
        assert page.bar._label.value == "cup"

        again = begin(page, page.accept(or_newest=True))
        await settle()
        link.asked[1][2].set_result(AddPrompt.Response(success=True, object_id=3))
        await again
        assert (page.view.draft, page.view.frame, page.refused) == (None, None, False)

    assert stage(links, play) == ["No.", "Object 3 is tracked."]


def test_a_prompt_that_could_not_be_sent_comes_back(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        await page._on_mark(mark(link))
        page.view.call("cup")
        task = begin(page, page.accept())
        await settle()
        link.asked[0][2].set_exception(SystemError("<b>\x1b"))  # as rclpy, for numbers that do not fit a message
        await task
        assert page.refused
        assert page.view.draft is not None
        assert page.view.draft.label == "cup"
        link.offered.add("segment_image")
        task = begin(page, page._on_mark(mark(link, 50.0)))
        await settle()
        link.asked[1][2].set_exception(SystemError("<b>"))
        await task
        assert "no preview" in page.remark

    (said,) = stage(links, play)
    assert said == "The console failed to ask the tracker: SystemError: <b>\\x1b"


@pytest.mark.parametrize("number", [0, -5, 2**32, 2**70, True, 1.0, "7", None])
def test_what_is_no_identity_is_not_acted_on(links: dict[str, SlowLink], number: Any) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        acted: list[int] = []
        page._objects._on(number, acted.append)
        assert acted == []
        page._objects._on(2**32 - 1, acted.append)
        assert acted == [2**32 - 1]

    stage(links, play)


def test_a_number_that_no_parameter_holds_is_not_sent() -> None:
    kinds = ParameterType
    assert _read_value(kinds.PARAMETER_INTEGER, 10**20) is None
    assert _read_value(kinds.PARAMETER_INTEGER, -(2**63) - 1) is None
    assert _read_value(kinds.PARAMETER_INTEGER, 2**63 - 1) == 2**63 - 1
    assert _read_value(kinds.PARAMETER_INTEGER, "") is None
    assert _read_value(kinds.PARAMETER_DOUBLE, 10**20) == 1e20


def test_at_once_two_clicks_are_two_objects(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        page.view.at_once = True
        tasks = [begin(page, page._on_mark(mark(link, x))) for x in (10.0, 50.0)]
        await settle()
        assert [[point.x for point in request.points] for _, request, _ in link.asked] == [[10.0], [50.0]]
        for number, (_, _, answer) in enumerate(link.asked):
            answer.set_result(AddPrompt.Response(success=True, object_id=number + 1))
        await asyncio.gather(*tasks)
        assert (page.view.draft, page.view.frame) == (None, None)

    stage(links, play)


def test_at_once_a_click_after_a_refused_one_is_another_object(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        page.view.at_once = True
        for x in (10.0, 50.0):
            task = begin(page, page._on_mark(mark(link, x)))
            await settle()
            link.asked[-1][2].set_result(AddPrompt.Response(success=False, message="No."))
            await task
        assert [point.x for point in link.asked[-1][1].points] == [50.0]

    stage(links, play)


def test_what_is_begun_while_another_is_sent_stays(links: dict[str, SlowLink]) -> None:
    for success in (True, False):

        async def play(page: ConsolePage, link: SlowLink, success: bool = success) -> None:
            await page._on_mark(mark(link, 10.0))
            task = begin(page, page.accept())
            await settle()
            await page._on_mark(mark(link, 50.0))
            link.asked.pop()[2].set_result(AddPrompt.Response(success=success, object_id=1, message="So."))
            await task
            assert page.view.draft is not None
            assert [step.x for step in page.view.draft.steps] == [50.0]  # type: ignore[union-attr]
            assert not page.refused

        stage(links, play)


def preview(stamp: int) -> SegmentImage.Response:
    mask = ImageMask(predicted_iou=0.5, mask=array_to_image(np.full((4, 4), 255, np.uint8), "mono8", Header()))
    mask.box.width = mask.box.height = 4
    return SegmentImage.Response(success=True, header=Header(stamp=to_time(stamp)), masks=[mask])


@pytest.mark.parametrize(("selected", "remark"), [(0, "preview 0.50"), (4, "preview of the new marks alone 0.50")])
def test_a_preview_says_what_it_is_of(links: dict[str, SlowLink], selected: int, remark: str) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        link.offered.add("segment_image")
        page.view.selected = selected
        task = begin(page, page._on_mark(mark(link)))
        await settle()
        link.asked[0][2].set_result(preview(SECOND))
        await task
        assert page.remark == f" · {remark}"
        assert page.view.preview

    stage(links, play)


def test_a_preview_that_comes_after_its_prompt_was_sent_is_not_shown(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        link.offered.add("segment_image")
        task = begin(page, page._on_mark(mark(link)))
        await settle()
        sent = begin(page, page.accept())
        await settle()
        link.asked[0][2].set_result(preview(SECOND))
        await task
        assert (page.remark, page.view.preview) == ("", ())
        link.asked[1][2].set_result(AddPrompt.Response(success=True, object_id=1))
        await sent

    stage(links, play)


def test_an_image_is_sent_only_where_the_tracker_has_it_no_more(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        link.offered.add("segment_image")
        task = begin(page, page._on_mark(mark(link)))
        await settle()
        link.asked[0][2].set_exception(RefusedError("Not answered within 15 s."))
        await task
        assert len(link.asked) == 1

        task = begin(page, page._on_mark(mark(link)))
        await settle()
        link.asked[1][2].set_result(preview(9 * SECOND))
        await settle()
        assert [request.image.width for _, request, _ in link.asked] == [0, 0, 60]
        link.asked[2][2].set_result(preview(SECOND))
        await task
        assert page.remark == " · preview 0.50"

    stage(links, play)


def numbers(page: ConsolePage) -> list[ui.number]:
    """The settings' controls of numbers."""
    return [item for item in page._settings._parameters.descendants() if isinstance(item, ui.number)]


async def answer_parameters(link: SlowLink, value: float) -> None:
    """Answer what is asked to read the parameters: there is one, a score."""
    descriptor = ParameterDescriptor(name="score", type=ParameterType.PARAMETER_DOUBLE)
    current = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
    for service, answer in (
        ("list_parameters", ListParameters.Response(result=ListParametersResult(names=["score"]))),
        ("describe_parameters", DescribeParameters.Response(descriptors=[descriptor])),
        ("get_parameters", GetParameters.Response(values=[current])),
    ):
        await settle()
        assert link.asked[-1][0] == service
        link.asked[-1][2].set_result(answer)
    await settle()


def report(link: SlowLink, **values: str) -> None:
    """Receive a report of an active tracker."""
    pairs = {"state": "active", **values}
    link.add_report(DiagnosticStatus(values=[KeyValue(key=key, value=value) for key, value in pairs.items()]))


def test_the_settings_are_of_the_tracker_that_is_looked_at(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        other = links["/b"]
        report(link)
        task = begin(page, page._settings.refresh())
        await answer_parameters(link, 0.5)
        await task
        assert [number.value for number in numbers(page)] == [0.5]

        page.view.choose("/b")
        await page._settings._set("score", 0.9)  # typed before, and sent after
        assert [service for service, _, _ in link.asked + other.asked if service == "set_parameters"] == []
        await page._settings.refresh()
        assert numbers(page) == [], "it is not running"

        report(other)
        slow = begin(page, page._settings.refresh())
        await settle()
        page.view.choose("/a")
        again = begin(page, page._settings.refresh())
        await answer_parameters(link, 0.6)
        await answer_parameters(other, 0.7)
        await asyncio.gather(slow, again)
        assert [number.value for number in numbers(page)] == [0.6]

    stage(links, play)


def test_a_refused_parameter_shows_the_value_that_the_tracker_has(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        descriptor = ParameterDescriptor(name="score", type=ParameterType.PARAMETER_DOUBLE)
        current = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=0.5)
        page._settings._link = link
        page._settings._show([("score", descriptor, current)])
        (number,) = numbers(page)
        number.set_value(2.0)
        task = begin(page, page._settings._set("score", 2.0))
        await settle()
        refused = SetParametersResult(successful=False, reason="It is too much.")
        assert link.asked[-1][0] == "set_parameters"
        link.asked[-1][2].set_result(SetParameters.Response(results=[refused]))
        await answer_parameters(link, 0.5)
        await task
        assert [number.value for number in numbers(page)] == [0.5]

        task = begin(page, page._settings._set("score", 0.9))
        await settle()
        link.asked[-1][2].set_result(SetParameters.Response(results=[SetParametersResult(successful=True)]))
        await task
        assert len(link.asked) == 5, "nothing is read again"

    assert stage(links, play) == ["Score was not changed: It is too much.", "Score is 0.9"]


def test_parameters_that_could_not_be_read_are_read_again(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        report(link)
        task = begin(page, page._settings.refresh())
        await settle()
        link.asked[-1][2].set_exception(RefusedError("/a has not answered."))
        await task
        again = begin(page, page._settings.refresh())
        await settle()
        assert [service for service, _, _ in link.asked] == ["list_parameters"] * 2
        again.cancel()

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


# --- Words ------------------------------------------------------------------------------------------------------------


def found(stamp: int, *phrases: str) -> DetectConcept.Response:
    instances = []
    for phrase in phrases:
        instance = ConceptInstance(phrase=phrase, score=0.9)
        instance.box.width = instance.box.height = 4
        instance.mask = array_to_image(np.full((4, 4), 255, np.uint8), "mono8", Header())
        instances.append(instance)
    return DetectConcept.Response(success=True, stamp=to_time(stamp), instances=instances)


async def search(page: ConsolePage, link: SlowLink) -> tuple[asyncio.Task[None], Any, asyncio.Future[Any]]:
    page._words._words.value = "cup, ball"
    task = begin(page, page._words._find())
    await settle()
    _, request, answer = link.asked[-1]
    return task, request, answer


def test_what_was_found_belongs_to_the_image_that_was_searched(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        task, request, answer = await search(page, link)
        assert (request.stamp, request.or_newest) == (to_time(SECOND), True)
        searched = link.frames.newest
        link.show(2 * SECOND)
        page.view.hold(mark(link).args)  # frozen while the search was under way
        answer.set_result(found(SECOND, "cup"))
        await task
        assert page.view.searched is searched

        task, request, answer = await search(page, link)
        assert (request.stamp, request.or_newest) == (to_time(2 * SECOND), False)
        answer.set_result(found(2 * SECOND, "cup"))
        await task
        page.go_on()

        task, _, answer = await search(page, link)
        answer.set_result(found(SECOND, "cup"))  # another one than was asked for
        await task
        assert page.view.searched is searched
        task, _, answer = await search(page, link)
        answer.set_result(found(5 * SECOND, "cup"))
        await task
        assert page.view.searched is None

    assert "not at hand any more" in stage(links, play)[-1]


def test_what_is_followed_is_unfollowed_by_the_same_phrase(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        phrases = ("yellow\xa0cup, red", "x" * MAX_LABEL)
        report(link, **{f"concept followed {i}": phrase for i, phrase in enumerate(phrases, 1)})
        assert link.health.followed == phrases
        for phrase in phrases:
            task = begin(page, page._words._unfollow(phrase))
            await settle()
            assert link.asked[-1][1].phrase == phrase
            link.asked[-1][2].set_result(UnfollowConcept.Response(success=True))
            await task

        page._words._words.value = "y" * MAX_LABEL
        task = begin(page, page._words._follow())
        await settle()
        assert link.asked[-1][1].phrase == "y" * MAX_LABEL
        task.cancel()

    stage(links, play)


def test_what_was_found_by_another_tracker_is_dropped(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        task, _, answer = await search(page, link)
        page.view.choose("/b")
        answer.set_result(found(SECOND, "cup"))
        await task
        assert (page.view.found, page.view.searched) == ((), None)

    stage(links, play)


def test_what_is_tracked_already_is_not_tracked_again(links: dict[str, SlowLink]) -> None:
    async def play(page: ConsolePage, link: SlowLink) -> None:
        task, _, answer = await search(page, link)
        answer.set_result(found(SECOND, "cup", "ball"))
        await task
        tasks = [begin(page, page._words._accept_chosen()) for _ in range(2)]  # a double click
        await settle()
        assert not page._words._accept.enabled
        assert [request.label for _, request, _ in link.asked[1:]] == ["cup"]
        link.asked[-1][2].set_result(AddPrompt.Response(success=True, object_id=1))
        await settle()
        link.asked[-1][2].set_result(AddPrompt.Response(success=False, message="No room."))
        await asyncio.gather(*tasks)
        assert [item.chosen for item in page.view.found] == [False, True]
        assert page._words._accept.enabled

        again = begin(page, page._words._accept_chosen())
        await settle()
        link.asked[-1][2].set_result(AddPrompt.Response(success=True, object_id=2))
        await again
        assert [request.label for _, request, _ in link.asked[1:]] == ["cup", "ball", "ball"]
        assert page.view.found == ()

    assert stage(links, play) == ["No room.", "1 tracked"]
