"""The state behind a page, without a browser: marks, selection, tracker, limits; health and plots."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.node import Node
from sam_msgs.msg import TrackedObject, TrackedObjectArray
from std_msgs.msg import Header

pytest.importorskip("nicegui")

from sam_ros.console.ros.health import KEPT, HealthHistory
from sam_ros.console.ros.link import TrackerLink
from sam_ros.console.web.plots import line_plot, polyline
from sam_ros.console.web.view import View
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import to_time
from sam_ros.runtime.errors import RefusedError

STAMP = 123_456_789_012


@pytest.fixture(scope="module")
def links(ros: None) -> Iterator[dict[str, TrackerLink]]:
    node = Node("test_console_view")
    yield {name: TrackerLink(node, name, image="", most_bytes=2**24) for name in ("/a", "/b")}
    node.destroy_node()


@pytest.fixture
def view(links: dict[str, TrackerLink]) -> View:
    """A view of /a, whose newest frame has object 7 at its top left."""
    show(links["/a"], STAMP, square(7, 0, 10))
    return View(lambda: links, read_only=False)


def square(object_id: int, x: int, side: int) -> TrackedObject:
    """A tracked object at the top of the image, px."""
    item = TrackedObject(id=object_id, state=TrackedObject.TRACKED, area=side * side)
    item.box.x_offset, item.box.width, item.box.height = x, side, side
    item.mask = array_to_image(np.full((side, side), 255, np.uint8), "mono8", Header())
    return item


def show(link: TrackerLink, stamp: int, *objects: TrackedObject) -> None:
    """Receive an image and its result."""
    header = Header(stamp=to_time(stamp))
    link.frames.add_image(array_to_image(np.zeros((40, 60, 3), np.uint8), "rgb8", header))
    link.frames.add_result(TrackedObjectArray(header=header, objects=list(objects)))


def at(view: View, x: float, y: float, positive: bool = True, **more: Any) -> dict[str, Any]:
    frame = view.link.frames.newest  # type: ignore[union-attr]
    assert frame is not None
    return {
        "number": frame.number,
        "stamp": str(frame.stamp),
        "kind": "point",
        "at": [x, y],
        "positive": positive,
        **more,
    }


def test_a_click_on_an_object_selects_it_and_the_picture_goes_on(view: View) -> None:
    assert not view.mark("point", at(view, 5, 5))
    assert (view.selected, view.draft, view.frame) == (7, None, None)


def test_a_frame_that_was_frozen_by_hand_stays_when_an_object_is_selected(view: View) -> None:
    view.hold(at(view, 0, 0))
    view.frozen = True
    view.mark("point", at(view, 5, 5))
    assert view.selected == 7
    assert view.frame is not None


def test_a_click_elsewhere_begins_an_object_and_undo_ends_it(view: View) -> None:
    assert view.mark("point", at(view, 30, 30))
    assert view.mark("point", at(view, 40, 30, positive=False))
    assert view.draft is not None
    assert (view.draft.object_id, len(view.draft.steps), view.draft.frame.stamp) == (0, 2, STAMP)
    view.undo()
    view.undo()
    assert (view.draft, view.frame) == (None, None)


def test_a_negative_click_corrects_what_is_there_and_nothing_elsewhere(view: View) -> None:
    with pytest.raises(RefusedError, match="corrects an object"):
        view.mark("point", at(view, 30, 30, positive=False))
    assert view.frame is None
    view.mark("point", at(view, 5, 5, positive=False))
    assert view.draft is not None
    assert view.draft.object_id == view.selected == 7


def test_a_hidden_object_is_not_selected(view: View) -> None:
    view.hide(7)
    view.mark("point", at(view, 5, 5))
    assert view.draft is not None
    assert (view.selected, view.draft.object_id) == (0, 0)
    view.cancel()
    with pytest.raises(RefusedError, match="corrects an object"):
        view.mark("point", at(view, 5, 5, positive=False))
    view.hide(7)
    assert view.hidden == frozenset()


def test_a_hidden_object_lets_a_click_through(links: dict[str, TrackerLink], view: View) -> None:
    show(links["/a"], 2 * STAMP, square(7, 0, 10), square(8, 0, 5))
    view.hide(8)
    view.mark("point", at(view, 2, 2))
    assert view.selected == 7


def test_a_click_on_another_object_selects_it_and_does_not_correct_the_first(
    links: dict[str, TrackerLink], view: View
) -> None:
    show(links["/a"], 2 * STAMP, square(7, 0, 10), square(8, 30, 10))
    view.mark("point", at(view, 5, 5))
    assert not view.mark("point", at(view, 35, 5))
    assert (view.selected, view.draft, view.frame) == (8, None, None)
    assert view.mark("point", at(view, 50, 30)), "elsewhere it is corrected"
    assert view.mark("point", at(view, 5, 5)), "and goes on being, over another object, too"
    assert view.draft is not None
    assert (view.draft.object_id, len(view.draft.steps)) == (8, 2)


def test_what_is_not_tracked_any_more_is_neither_selected_nor_hidden(view: View) -> None:
    view.hide(3)
    view.hide(8)
    view.selected = 7
    view.keep_objects([7, 8])
    assert (view.selected, view.hidden) == (7, {8})
    view.forget_object(7)
    assert (view.selected, view.hidden) == (0, {8})
    view.keep_objects(())
    assert view.hidden == frozenset()


def test_examples_are_of_the_image_that_they_were_drawn_in(links: dict[str, TrackerLink], view: View) -> None:
    def draw() -> None:
        view.mark("example", at(view, 0, 0, kind="box") | {"at": [20, 20, 29, 29]})

    draw()
    view.release()
    assert view.examples == ()
    draw()
    view.mark("point", at(view, 5, 5))
    assert view.selected == 7
    assert (len(view.examples), view.frame) == (1, links["/a"].frames.newest), "they hold the picture"
    show(links["/a"], 2 * STAMP)
    draw()
    assert (len(view.examples), view.frame) == (1, links["/a"].frames.newest), "only those of the newer image"
    draw()
    view.undo()
    assert view.frame is not None
    view.undo()
    assert (view.examples, view.frame) == ((), None)
    draw()
    view.forget_search()
    assert (view.examples, view.frame) == ((), None)


@pytest.mark.parametrize(
    "change", [{"number": 10**9}, {"number": None}, {"number": "1"}, {"stamp": "1"}, {"stamp": None}]
)
def test_a_mark_on_a_frame_that_is_gone_is_refused(view: View, change: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="not at hand"):
        view.mark("point", {**at(view, 30, 30), **change})
    with pytest.raises(RefusedError, match="not at hand"):
        view.mark("point", "nonsense")


def test_examples_are_boxes_and_bounded(view: View) -> None:
    box = at(view, 0, 0, kind="box") | {"at": [1, 1, 9, 9]}
    assert not view.mark("example", box)
    assert not view.mark("example", box | {"positive": False})
    assert [example.positive for example in view.examples] == [True, False]
    assert view.draft is None
    for _ in range(14):
        view.mark("example", box)
    with pytest.raises(RefusedError, match="At most 16"):
        view.mark("example", box)


def test_another_tracker_begins_with_nothing(view: View) -> None:
    view.mark("point", at(view, 30, 30))
    assert not view.choose("/a")
    assert view.draft is not None
    assert view.choose("/b")
    assert (view.link.name, view.draft, view.frame) == ("/b", None, None)  # type: ignore[union-attr]
    assert not view.choose("/nobody")


def test_a_read_only_view_takes_no_marks(links: dict[str, TrackerLink], view: View) -> None:
    shown = View(lambda: links, read_only=True)
    with pytest.raises(RefusedError, match="read-only"):
        shown.mark("point", at(view, 30, 30))


def test_commands_are_bounded_in_rate(view: View) -> None:
    def ask(times: int) -> int:
        return sum(view.commands is not None for _ in range(times))

    assert ask(40) == 40, "a burst"
    with pytest.raises(RefusedError, match="Too many"):
        ask(40)
    with pytest.raises(RefusedError, match="No tracker"):
        assert View(dict, read_only=False).commands is None


# --- Health -----------------------------------------------------------------------------------------------------------


def report(**values: str) -> DiagnosticStatus:
    pairs = [KeyValue(key=key.replace("_", " "), value=value) for key, value in values.items()]
    return DiagnosticStatus(level=b"\x01", name="/a: tracking", message="slow", hardware_id="cpu", values=pairs)


def test_reports_become_samples_and_age() -> None:
    now = [10.0]
    history = HealthHistory(lambda: now[0])
    assert not history.health().present
    for i in range(KEPT + 50):
        history.add(report(state="active", **{"images dropped: late": str(3 * i), "host memory [MiB]": "12.5"}))
    followed = {"concepts followed": "cup, red, ball", "concept followed 1": "cup, red", "concept followed 2": "ball"}
    history.add(report(state="active, paused", detector="not configured", **{"images dropped: late": "0"}, **followed))
    health = history.health()
    assert (health.level, health.message, health.state, health.paused) == ("warn", "slow", "active", True)
    assert health.detector == ""
    assert health.followed == ("cup, red", "ball")
    assert len(health.samples) == KEPT
    assert health.samples[-2].dropped == 3
    assert health.samples[-2].memory == 12.5
    assert health.samples[-1].dropped == 0, "another process: its counts begin anew"
    assert math.isnan(health.samples[-1].rate_out)
    now[0] = 14.0
    assert not history.health().present
    assert history.health().state == ""


def test_plots_are_made_of_numbers_alone() -> None:
    assert polyline([], 10, 10, 1) == ""
    assert polyline([0, math.nan, 2], 10, 10, 1) == "0.0,9.0 10.0,1.0"
    plot = line_plot([[1, 30, math.inf]], ["red"], "Rate")
    assert 'aria-label="Rate, at most 50"' in plot
    assert "inf" not in plot
