"""The console in a real browser, against a real camera, a real tracker and its real weights."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_ros.runtime.processes import Executable
from tests.ros.console.browser_rig import CHROMIUM
from tests.ros.console.stage import BACKGROUND, BLUE, ENOUGH, SIZE, Stage, running_stage

pytest.importorskip("nicegui")
pytest.importorskip("playwright")
pytestmark = [
    pytest.mark.slow,  # two browsers render in software beside three ROS processes
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

HTML = "<img src=x onerror='window.hacked=1'>"


@pytest.fixture(scope="module")
def stage(
    ros: None, make_lasting_client: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    with running_stage(make_lasting_client, tmp_path_factory.mktemp("console")) as stage:
        yield stage


def test_click_name_correct_and_remove_in_a_frozen_frame(stage: Stage) -> None:
    page = stage.open()
    stamp = page.freeze()
    page.click(*stage.middle_of(BLUE, stamp), SIZE)
    page.says("New object · 1 mark · preview 0.")
    page.page.get_by_label("Label of the new object").fill(f"cup{HTML}")
    page.page.get_by_role("button", name="Track", exact=True).click()
    page.says("is tracked")
    (object_id,) = stage.client.until(stage.ids, "the object")
    assert np.median(stage.ious(object_id, BLUE, 3)) >= ENOUGH

    # The label is text, wherever it shows.
    page.says(f"cup{HTML}")
    assert page.page.evaluate("window.hacked") is None
    assert page.page.locator(".sam-objects img[src=x]").count() == 0

    page.page.get_by_role("button", name=f"Rename object {object_id}").click()
    page.page.get_by_role("dialog").get_by_label("Label").fill("ball")
    page.page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    page.page.locator(".sam-name", has_text="ball").wait_for()
    stage.client.until(
        lambda: [item.label for item in stage.client.objects[stage.client.order[-1]].objects] == ["ball"], "the label"
    )

    # A second browser sees the same, and the first goes on.
    other = stage.open(viewport={"width": 390, "height": 844}, has_touch=True)
    other.page.get_by_role("button", name=f"Select object {object_id}").wait_for()
    before = page.statistics["number"]
    page.wait_for_picture(after=before)
    other.page.context.close()

    # A negative click beside the object corrects it, on the very frame.
    page.page.get_by_role("button", name=f"Select object {object_id}").click()
    stamp = page.freeze()
    page.click(*stage.middle_of(BACKGROUND, stamp), SIZE, button="right")
    page.says(f"Correct object {object_id} · 1 mark")
    page.page.get_by_role("button", name="Correct", exact=True).click()
    page.says("is corrected")
    assert np.median(stage.ious(object_id, BLUE, 2)) >= ENOUGH

    page.tab("Health")
    page.says("appeared")
    page.tab("Words")
    page.says("No detector is loaded")
    page.tab("Objects")
    page.page.get_by_role("button", name=f"Remove object {object_id}").click()
    stage.client.until(lambda: not stage.ids(), "nothing to be tracked")
    page.says("Nothing is tracked yet")
    assert page.errors == []
    page.page.context.close()


def test_words_find_and_the_chosen_is_tracked_by_another_tracker(stage: Stage) -> None:
    tracking = {"autostart": True, "device": "cpu", "cpu_threads": 1, "history_frames": 200, "detector": "sam3_nano"}
    finder = Executable("tracker", tracking, remappings={"__node": "finder"}, log=stage.folder / "finder.log")
    with finder:
        page = stage.open()
        page.choose("/finder")
        page.says("active ·")
        page.tab("Words")
        page.page.get_by_label("What to look for").fill("red circle, blue circle")
        page.wait_for_picture(after=page.statistics["number"])
        page.freeze()
        find = page.page.get_by_role("button", name="Find")
        find.wait_for()
        find.click()
        page.says("circle · 0.")  # how many of the two kinds the small weights find depends on the frame
        page.page.get_by_role("button", name="Track chosen").click()
        page.says("tracked")
        page.tab("Objects")
        page.page.locator(".sam-name", has_text="circle").first.wait_for()
        assert page.errors == []
        page.page.context.close()


def test_a_tracker_that_dies_is_missed_and_welcomed_back(stage: Stage) -> None:
    page = stage.open()
    page.choose("/tracker")  # another one, of the test before, may still be listed
    page.says("active ·")
    stage.tracker.stop(signal.SIGKILL)
    page.says("not running for")
    page.tab("Health")
    page.says("not running for")
    stage.tracker.start()
    page.says("active ·")
    before = page.statistics["number"]
    page.wait_for_picture(after=before + 2)
    assert page.errors == []
    page.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_about(stage: Stage, scheme: str, tmp_path: Path) -> None:
    """The accessibility rules of WCAG 2 A and AA, by axe-core from npm."""
    if shutil.which("npm") is None:
        pytest.skip("no npm")
    done = subprocess.run(["npm", "install", "--prefix", tmp_path, "axe-core@4"], capture_output=True, check=False)
    script = tmp_path / "node_modules" / "axe-core" / "axe.min.js"
    if done.returncode or not script.is_file():
        pytest.skip("axe-core cannot be installed")
    page = stage.open(color_scheme=scheme)
    page.page.add_script_tag(path=script)
    found = {}
    for tab in ("Objects", "Words", "Health", "Settings"):
        page.tab(tab)
        page.page.wait_for_timeout(3000)
        for violation in page.page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa']})")["violations"]:
            found[tab, violation["id"]] = [node["html"][:200] for node in violation["nodes"]][:3]
    assert found == {}
    page.page.context.close()
