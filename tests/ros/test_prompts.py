"""From requests to prompts, and from instances to messages and back."""

from __future__ import annotations

import numpy as np
import pytest
from sam_msgs.msg import ImagePrompt, LabeledPoint
from sam_msgs.srv import AddPrompt
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_core import ImageError, Prompt, PromptError
from sam_core.association import Instance
from sam_core.streaming import CroppedMask
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.messages import concept_instance_message, mask_of
from sam_ros.conversions.prompts import prompt_of
from sam_ros.conversions.stamps import format_stamp, nanoseconds, stamp_of, to_time


def test_an_empty_request_is_an_empty_prompt() -> None:
    assert prompt_of(AddPrompt.Request()) == Prompt()


def test_points_box_and_stamp_are_taken_over() -> None:
    points = [LabeledPoint(x=1.5, y=2.5, label=1), LabeledPoint(x=3.0, y=4.0, label=0)]
    prompt = prompt_of(AddPrompt.Request(points=points, box=[1.0, 2.0, 3.0, 4.0], stamp=to_time(7 * 10**9 + 5)))
    assert prompt == Prompt([[1.5, 2.5], [3.0, 4.0]], [1, 0], [1.0, 2.0, 3.0, 4.0], None, 7 * 10**9 + 5)


def test_a_mask_is_taken_over() -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 255
    prompt = prompt_of(AddPrompt.Request(mask=array_to_image(mask, "mono8", Header())))
    np.testing.assert_array_equal(np.asarray(prompt.mask) != 0, mask != 0)
    assert (prompt.points, prompt.labels, prompt.box, prompt.stamp) == (None, None, None, None)


@pytest.mark.parametrize("image", [Image(width=3), Image(height=3), Image(data=[1])])
def test_a_mask_that_is_only_begun_is_refused(image: Image) -> None:
    with pytest.raises(ImageError):
        prompt_of(AddPrompt.Request(mask=image))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_box_is_whole_or_none(count: int) -> None:
    with pytest.raises(PromptError, match=rf"^a box is four numbers .* or none, not {count}$"):
        prompt_of(AddPrompt.Request(box=[1.0, 2.0, 3.0][:count]))


def test_too_many_points_are_refused_at_once() -> None:
    with pytest.raises(PromptError, match="at most 100 points"):
        prompt_of(AddPrompt.Request(points=[LabeledPoint()] * 101))


def test_an_instance_comes_back_from_its_message() -> None:
    mask = np.zeros((20, 30), bool)
    mask[4:9, 7:19] = True
    mask[4, 7] = False
    instance = Instance("cup", 0.75, CroppedMask.of(mask))
    header = Header(frame_id="eye", stamp=to_time(3))
    message = concept_instance_message(instance, (6.5, 3.5, 19.5, 9.5), 4, header)
    assert (message.object_id, message.phrase, message.score) == (4, "cup", 0.75)
    assert message.detected_box.tolist() == [6.5, 3.5, 19.5, 9.5]
    box = message.box
    assert (box.x_offset, box.y_offset, box.width, box.height, box.do_rectify) == (7, 4, 12, 5, False)
    assert (message.mask.encoding, message.mask.header) == ("mono8", header)
    assert set(message.mask.data) == {0, 255}
    assert mask_of(message, (20, 30)).dtype == np.bool_
    np.testing.assert_array_equal(mask_of(message, (20, 30)), mask)


def test_a_stamp_is_written_as_ros_tools_show_it() -> None:
    assert format_stamp(12 * 10**9 + 34) == "12.000000034 s"
    assert format_stamp(10**9 - 1) == "0.999999999 s"
    assert format_stamp(10**9) == "1.000000000 s"


def test_stamps_are_whole_nanoseconds() -> None:
    stamp = to_time(12 * 10**9 + 34)
    assert (stamp.sec, stamp.nanosec) == (12, 34)
    assert (nanoseconds(stamp), stamp_of(Header(stamp=stamp))) == (12 * 10**9 + 34,) * 2
    assert to_time(10**9 - 1).nanosec == 10**9 - 1


def test_the_prompt_of_a_still_image_has_no_stamp() -> None:
    points = [LabeledPoint(x=1.5, y=2.5, label=1)]
    assert prompt_of(ImagePrompt(points=points)) == Prompt([[1.5, 2.5]], [1])
    assert prompt_of(AddPrompt.Request(points=points)).stamp is None, "a stamp of zero means the newest image"


def test_a_hundred_points_are_not_too_many() -> None:
    assert len(prompt_of(AddPrompt.Request(points=[LabeledPoint()] * 100)).points) == 100  # type: ignore[arg-type]


def test_an_instances_box_is_that_of_its_pixels() -> None:
    """A box that is neither square nor at the border: rows 3 to 5, columns 7 to 12."""
    mask = np.zeros((9, 30), bool)
    mask[3:5, 7:12] = True
    message = concept_instance_message(Instance("cup", 0.5, CroppedMask.of(mask)), (0.0, 1.0, 2.0, 3.0), 0, Header())
    assert message.object_id == 0
    box = message.box
    assert (box.x_offset, box.y_offset, box.width, box.height) == (7, 3, 5, 2)
    assert (message.mask.width, message.mask.height) == (5, 2)
    np.testing.assert_array_equal(mask_of(message, (9, 30)), mask)
