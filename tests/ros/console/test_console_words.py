"""Searches by words of a page whose tracker has not answered yet."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from sam_msgs.msg import ConceptInstance
from sam_msgs.srv import AddPrompt, DetectConcept, UnfollowConcept
from std_msgs.msg import Header

pytest.importorskip("nicegui")


from sam_core.streaming.prompt import MAX_LABEL
from sam_ros.console.web.page import ConsolePage
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import to_time
from tests.ros.console.page_rig import SECOND, SlowLink, begin, mark, report, settle, stage


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
