"""Prompts of a page whose tracker has not answered yet, and their previews."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from sam_msgs.msg import ImageMask
from sam_msgs.srv import AddPrompt, SegmentImage
from std_msgs.msg import Header

pytest.importorskip("nicegui")


from sam_ros.console.web.page import ConsolePage
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import to_time
from sam_ros.runtime.errors import RefusedError
from tests.ros.console.page_rig import SECOND, SlowLink, begin, mark, settle, stage


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
