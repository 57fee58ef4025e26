"""The console's tools in a real browser: box, brush, undo, examples, files, lifecycle, parameters, the keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python

from tests.ros.console.browser_rig import CHROMIUM, Page
from tests.ros.console.stage import BACKGROUND, BLUE, ENOUGH, SIZE, Stage, running_stage

pytest.importorskip("nicegui")
pytest.importorskip("playwright")
pytestmark = [
    pytest.mark.slow,  # a browser renders in software beside three ROS processes
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


@pytest.fixture(scope="module")
def stage(
    ros: None, make_lasting_client: Callable[..., object], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("console")
    more = {"detector": "sam3_nano", "objects_folder": str(folder / "objects")}
    with running_stage(make_lasting_client, folder, **more) as stage:
        yield stage


@pytest.fixture
def page(stage: Stage) -> Iterator[Page]:
    """A page of a tracker without objects."""
    stage.client.reset()
    page = stage.open()
    yield page
    assert page.errors == []
    page.page.context.close()


def box_of(number: int, stage: Stage, stamp: int, margin: int = 3) -> tuple[int, int, int, int]:
    """Return the box around a thing, and a margin, within the image: px."""
    left, top, width, height = cv2.boundingRect((stage.truth(stamp) == number).astype(np.uint8))
    right, bottom = min(left + width + margin, SIZE[0] - 1), min(top + height + margin, SIZE[1] - 1)
    return max(0, left - margin), max(0, top - margin), right, bottom


def tracked(page: Page, stage: Stage) -> int:
    """Accept the prompt, and return the only object."""
    page.press("Track")
    page.says("is tracked")
    (object_id,) = stage.client.until(stage.ids, "the object")
    return int(object_id)


def test_a_box_that_is_dragged(stage: Stage, page: Page) -> None:
    stamp = page.freeze()
    page.press("Box")
    left, top, right, bottom = box_of(BLUE, stage, stamp)
    page.drag([(right, bottom), ((left + right) / 2, top), (left, top)], SIZE)  # from any corner
    page.says("New object · 1 mark · preview 0.")

    object_id = tracked(page, stage)
    assert np.median(stage.ious(object_id, BLUE, 2)) >= ENOUGH


def test_a_mask_that_is_brushed_and_partly_erased(stage: Stage, page: Page) -> None:
    stamp = page.freeze()
    page.press("Brush")
    left, top, right, bottom = box_of(BLUE, stage, stamp, margin=-13)
    rows = np.linspace(top, bottom, 4)
    zigzag = [(x, y) for i, y in enumerate(rows) for x in ((left, right) if i % 2 == 0 else (right, left))]
    page.drag(zigzag, SIZE)
    page.says("New object · 1 mark")
    x, y = (20, 20) if left > SIZE[0] / 2 else (SIZE[0] - 20, 20)  # elsewhere, and away again
    page.drag([(x, y), (x, y + 15)], SIZE)
    page.says("New object · 2 marks")
    page.drag([(x, y - 4), (x, y + 19)], SIZE, button="right")
    page.says("New object · 3 marks")

    # The brush and the marks do not mix.
    page.press("Point")
    page.click(*stage.middle_of(BLUE, stamp), SIZE)
    page.says("does not go together")
    page.says("New object · 3 marks")

    object_id = tracked(page, stage)
    assert np.median(stage.ious(object_id, BLUE, 2)) >= ENOUGH


def test_marks_are_taken_back_one_by_one(stage: Stage, page: Page) -> None:
    shown = page.statistics["number"]
    page.click(*stage.middle_of(BLUE, int(page.statistics["stamp"])), SIZE)
    page.says("New object · 1 mark")  # the mark alone has frozen the picture
    page.click(*stage.middle_of(BACKGROUND, int(page.statistics["stamp"])), SIZE, button="right")
    page.says("New object · 2 marks")
    page.page.keyboard.press("z")
    page.says("New object · 1 mark")
    page.press("Undo")
    page.page.get_by_role("button", name="Freeze").wait_for()
    page.page.get_by_role("region", name="Prompt").wait_for(state="hidden")
    page.wait_for_picture(after=shown + 1)

    # What the operator froze stays so.
    stamp = page.freeze()
    page.click(*stage.middle_of(BLUE, stamp), SIZE)
    page.says("New object · 1 mark")
    page.page.keyboard.press("Control+z")
    page.page.get_by_role("region", name="Prompt").wait_for(state="hidden")
    assert page.page.get_by_role("button", name="Go on").is_visible()
    assert int(page.statistics["stamp"]) == stamp
    assert stage.ids() == set()


def test_boxes_around_examples_are_searched_for(stage: Stage, page: Page) -> None:
    stamp = page.freeze()
    page.page.keyboard.press("e")
    left, top, right, bottom = box_of(BLUE, stage, stamp)
    page.drag([(left, top), (right, bottom)], SIZE)
    page.drag([(2, 2), (22, 22)], SIZE, button="right")
    page.drag([(30, 2), (52, 22)], SIZE)
    page.tab("Words")
    page.says("2 positive and 1 negative examples")
    page.page.keyboard.press("z")
    page.says("1 positive and 1 negative examples")

    page.page.get_by_role("slider", name="Lowest score").press("PageDown")
    page.press("Find")
    found = page.page.get_by_role("group", name="Found").get_by_role("checkbox")
    found.first.wait_for()
    for i in range(1, found.count()):
        found.nth(i).click()
    page.press("Track chosen")
    page.says("1 tracked")
    stage.client.until(stage.ids, "the object")
    page.page.get_by_text("positive and").wait_for(state="hidden")


def test_the_keyboard_alone_prompts(stage: Stage, page: Page) -> None:
    stamp = page.freeze()
    x, y = stage.middle_of(BLUE, stamp)
    page.page.locator(".sam-marks").focus()
    for key, distance in (("Arrow" + ("Right" if x > 160 else "Left"), abs(x - 160)),
                          ("Arrow" + ("Down" if y > 120 else "Up"), abs(y - 120))):  # fmt: skip
        for _ in range(max(1, round(distance / 4))):
            page.page.keyboard.press(key)
    page.page.keyboard.press("Space")
    page.says("New object · 1 mark")
    page.page.keyboard.press("Enter")
    page.says("is tracked")
    (object_id,) = stage.client.until(stage.ids, "the object")
    assert np.median(stage.ious(object_id, BLUE, 2)) >= ENOUGH


def test_objects_are_saved_and_loaded(stage: Stage, page: Page) -> None:
    stamp = page.freeze()
    page.click(*stage.middle_of(BLUE, stamp), SIZE)
    page.page.get_by_label("Label of the new object").fill("ball")
    object_id = tracked(page, stage)
    folder = stage.folder / "objects"

    page.press("Save …")
    page.page.get_by_role("dialog").get_by_label("Name (empty").fill("cup")
    page.page.get_by_role("dialog").get_by_role("button", name="Save").click()
    page.says("Saved")
    stage.client.until(lambda: list(folder.glob("cup*.safetensors")), "the file")
    (path,) = folder.glob("cup*.safetensors")

    # A second time it is refused, with the tracker's reason, unless it may be replaced.
    page.press("Save …")
    page.page.get_by_role("dialog").get_by_label("Name (empty").fill("cup")
    page.page.get_by_role("dialog").get_by_role("button", name="Save").click()
    page.says("overwrite")

    page.press("Remove all")
    page.page.get_by_role("dialog").get_by_role("button", name="Remove all").click()
    page.says("Nothing is tracked yet")

    page.press("Load …")
    page.page.get_by_role("dialog").get_by_label("Names of the files").fill(f"{path.name}, other.safetensors")
    page.page.get_by_role("dialog").get_by_role("button", name="Load").click()
    page.says("other.safetensors")
    page.page.locator(".sam-name", has_text="ball").wait_for()
    (loaded,) = stage.client.until(stage.ids, "the loaded object")
    assert loaded != object_id
    page.page.locator(".sam-sub", has_text="● tracked").wait_for()
    assert np.median(stage.ious(loaded, BLUE, 3)) >= ENOUGH


def state_of(stage: Stage) -> str:
    """Return the tracker's lifecycle state, as the tracker says."""
    return str(stage.client.call(GetState, "get_state").current_state.label)


def test_the_lifecycle_is_led_by_buttons(stage: Stage, page: Page) -> None:
    page.tab("Settings")
    page.press("Pause")
    page.says("active, paused")
    page.press("Resume")
    page.press("Deactivate")
    page.page.get_by_role("button", name="Cleanup").wait_for()
    assert state_of(stage) == "inactive"
    page.press("Cleanup")
    page.press("Configure")
    page.press("Activate")
    page.says("active ·")
    assert state_of(stage) == "active"
    page.wait_for_picture(after=page.statistics["number"] + 1)


def value_of(stage: Stage, name: str) -> object:
    """Return a parameter of the tracker, as the tracker has it."""
    answer = stage.client.call(GetParameters, "get_parameters", names=[name])
    return parameter_value_to_python(answer.values[0])


def test_a_parameter_is_changed_live(stage: Stage, page: Page) -> None:
    page.tab("Settings")
    lost_after = page.page.get_by_label("lost_after", exact=True)
    lost_after.fill("4.5")
    page.says("Lost_after is 4.5")
    assert value_of(stage, "lost_after") == 4.5
    page.page.get_by_role("switch", name="publish_masks").click()
    page.says("Publish_masks is False")
    assert value_of(stage, "publish_masks") is False
    page.page.get_by_role("switch", name="publish_masks").click()
    stage.client.until(lambda: value_of(stage, "publish_masks"), "the masks")

    # What is out of range is refused, and the control shows what holds.
    lost_after.fill("-7")
    page.says("Lost_after was not changed")
    page.shows("lost_after", "4.5")
    assert value_of(stage, "lost_after") == 4.5
