"""The settings panel of a page whose tracker has not answered yet."""

from __future__ import annotations

import asyncio

import pytest
from rcl_interfaces.msg import (
    ListParametersResult,
    ParameterDescriptor,
    ParameterType,
    ParameterValue,
    SetParametersResult,
)
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters

pytest.importorskip("nicegui")

from nicegui import ui

from sam_ros.console.web.page import ConsolePage
from sam_ros.console.web.settings_panel import _read_value
from sam_ros.runtime.errors import RefusedError
from tests.ros.console.page_rig import SlowLink, begin, report, settle, stage


def test_a_number_that_no_parameter_holds_is_not_sent() -> None:
    kinds = ParameterType
    assert _read_value(kinds.PARAMETER_INTEGER, 10**20) is None
    assert _read_value(kinds.PARAMETER_INTEGER, -(2**63) - 1) is None
    assert _read_value(kinds.PARAMETER_INTEGER, 2**63 - 1) == 2**63 - 1
    assert _read_value(kinds.PARAMETER_INTEGER, "") is None
    assert _read_value(kinds.PARAMETER_DOUBLE, 10**20) == 1e20


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
