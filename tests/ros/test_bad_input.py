"""Bad input to the running node: a clear answer or a counted drop, and the other objects are tracked on unchanged."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Point, PointStamped
from sam_msgs.msg import LabeledPoint, TrackedObjectArray
from sam_msgs.srv import AddPrompt
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_ros.conversions.encodings import array_to_image

Picture = Callable[..., np.ndarray]
NAN, INF = float("nan"), float("inf")


def episode(client: Any, picture: Picture, disturb: Callable[[], None] = lambda: None) -> list[TrackedObjectArray]:
    """Track two objects over four images; `disturb` happens between the second and the third."""
    assert client.reset().success
    client.track(picture(0))
    assert client.prompt((40, 45), label="square").success
    assert client.call(AddPrompt, "add_prompt", box=[60.0, 10.0, 120.0, 90.0]).success
    results = [client.track(picture(1))]
    disturb()
    results += [client.track(picture(i)) for i in (2, 3, 4)]
    return results


def essence(results: list[TrackedObjectArray]) -> list[list[tuple[Any, ...]]]:
    """Return what must not change from episode to episode: all but stamps and ids."""
    return [
        [(o.label, o.state, o.predicted_iou, o.presence, o.area, bytes(o.mask.data)) for o in result.objects]
        for result in results
    ]


@pytest.fixture(scope="session")
def undisturbed() -> list[Any]:
    """Hold the result of an episode without disturbance, once there is one."""
    return []


@pytest.fixture
def survives(client: Any, picture: Picture, undisturbed: list[Any]) -> Callable[[Callable[[], None]], None]:
    """Give a function that says whether tracking goes on as if a disturbance had not been."""
    if not undisturbed:
        undisturbed.append(essence(episode(client, picture)))

    def check(disturb: Callable[[], None]) -> None:
        assert essence(episode(client, picture, disturb)) == undisturbed[0]

    return check


def image(encoding: str, width: int, height: int, step: int, data: int) -> Image:
    """Make an image message whose fields need not fit each other; `data` in bytes."""
    message = Image(encoding=encoding, width=width, height=height, step=step)
    message.data = array.array("B", bytes(data))
    return message


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        pytest.param(image("32FC7", 128, 96, 3584, 344064), "unknown encoding '32FC7'", id="unknown encoding"),
        pytest.param(image("x" * 10**6, 128, 96, 3584, 344064), "more characters)", id="long encoding"),
        pytest.param(image("rgb8", 0, 0, 0, 0), "no pixels", id="zero size"),
        pytest.param(image("rgb8", 128, 0, 384, 0), "no pixels", id="zero height"),
        pytest.param(image("rgb8", 128, 96, 384, 384 * 96 - 1), "data holds 36863 bytes", id="short data"),
        pytest.param(image("rgb8", 128, 96, 383, 383 * 96), "step is 383 bytes", id="short step"),
        pytest.param(image("yuv422", 127, 96, 254, 254 * 96), "multiple of 2", id="odd yuv"),
    ],
)
def test_a_bad_image_is_dropped_and_counted(
    client: Any, survives: Callable[[Callable[[], None]], None], bad: Image, text: str
) -> None:
    cause = "unreadable image"
    client.until(lambda: client.diagnostics, "diagnostics")
    before = client.dropped(cause)

    def disturb() -> None:
        bad.header = client.header()
        client.images.publish(bad)
        client.until(lambda: client.dropped(cause) == before + 1, "the drop in the diagnostics")
        assert text in client.diagnostics["last error"]
        assert client.level == b"\x01", "the operator is warned"
        assert text in client.message
        assert len(client.message) < 1000

    survives(disturb)


def points(*xy: tuple[float, float], label: int = LabeledPoint.POSITIVE) -> dict[str, Any]:
    return {"points": [LabeledPoint(x=float(x), y=float(y), label=label) for x, y in xy]}


def mask(height: int, width: int, value: int = 255, encoding: str = "mono8") -> dict[str, Any]:
    return {"mask": array_to_image(np.full((height, width), value, np.uint8), encoding, Header())}


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        pytest.param({}, "empty", id="empty prompt"),
        pytest.param(points((133, 40)), "outside the image of 128×96 px", id="point right of the image"),
        pytest.param(points((40, 45), (-4.5, 3)), "outside the image of 128×96 px", id="point left of the image"),
        pytest.param(points((NAN, 3)), "NaN", id="NaN point"),
        pytest.param(points((3, INF)), "infinity", id="infinite point"),
        pytest.param(points((3, 3), label=7), "label is 1 (positive) or 0 (negative), not 7", id="unknown label"),
        pytest.param(points(*[(3, 3)] * 40_000), "at most 100 points on one frame, not 40000", id="too many points"),
        pytest.param({"box": [50.0, 10.0, 50.0, 20.0]}, "out of order", id="box with x2 = x1"),
        pytest.param({"box": [50.0, 10.0, 40.0, 20.0]}, "out of order", id="box with x2 < x1"),
        pytest.param({"box": [50.0, 30.0, 60.0, 20.0]}, "out of order", id="box with y2 < y1"),
        pytest.param({"box": [50.0, 10.0, NAN, 20.0]}, "NaN", id="NaN box"),
        pytest.param({"box": [50.0, 10.0, 60.0, 101.0]}, "leaves the image", id="box outside the image"),
        pytest.param({"box": [50.0, 10.0, 60.0]}, "four numbers", id="box of three numbers"),
        pytest.param(mask(95, 128), "95 × 128", id="mask of another size"),
        pytest.param(mask(96, 128, value=0), "mask is empty", id="empty mask"),
        pytest.param(mask(96, 128, encoding="mono16"), "must be mono8 or 8UC1, not 'mono16'", id="mask of 16 bit"),
        pytest.param({"mask": image("mono8", 128, 96, 128, 100)}, "data holds 100 bytes", id="short mask"),
        pytest.param({**mask(96, 128), **points((3, 3))}, "mask stands alone", id="mask and point"),
        pytest.param({"label": "x" * 10**6, **points((3, 3))}, "at most 256 are allowed", id="long label"),
        pytest.param({"label": "a\x1b[2J", **points((3, 3))}, "control character U+001B", id="escape sequence"),
        pytest.param({"mask": image("y" * 10**6, 128, 96, 128, 12288)}, "more characters)", id="long encoding"),
        pytest.param({"object_id": 4_000_000, **points((3, 3))}, "no object 4000000", id="unknown object"),
    ],
)
def test_a_bad_prompt_is_refused_with_a_reason(
    client: Any, survives: Callable[[Callable[[], None]], None], request_: dict[str, Any], text: str
) -> None:
    def disturb() -> None:
        answer = client.call(AddPrompt, "add_prompt", **request_)
        assert not answer.success
        assert answer.object_id == 0
        assert text in answer.message
        assert len(answer.message) < 1100

    survives(disturb)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        pytest.param({"box": [-1.5, 10.0, 60.0, 97.0]}, "The box was clipped to the image of 128×96 px.", id="box"),
        pytest.param(points((128, 40), (30, 30)), "1 point(s) just outside the image of 128×96 px", id="x = width"),
        pytest.param({"box": [0.0, 10.0, 128.0, 96.0]}, "", id="box along the border"),
    ],
)
def test_a_prompt_just_outside_is_clipped_with_a_remark(
    client: Any, picture: Callable[..., np.ndarray], request_: dict[str, Any], text: str
) -> None:
    client.track(picture(0))
    answer = client.call(AddPrompt, "add_prompt", **request_)
    assert answer.success
    assert answer.message.startswith(text) if text else answer.message == ""


def test_a_bad_correction_leaves_its_object_as_it_was(
    client: Any, survives: Callable[[Callable[[], None]], None]
) -> None:
    def disturb() -> None:
        known = client.list().objects[0]
        answer = client.prompt((500, 3), object_id=known.id, label="renamed")
        assert not answer.success
        assert client.list().objects[0] == known

    survives(disturb)


def test_removing_an_unknown_object_is_refused(client: Any, survives: Callable[[Callable[[], None]], None]) -> None:
    def disturb() -> None:
        answer = client.remove(4_000_000)
        assert not answer.success
        assert "no object 4000000" in answer.message

    survives(disturb)


@pytest.mark.parametrize("xy", [(NAN, 3.0), (500.0, 3.0), (3.0, -5.0), (1e300, 3.0), (INF, INF)])
def test_a_bad_click_is_counted(
    client: Any, survives: Callable[[Callable[[], None]], None], xy: tuple[float, float]
) -> None:
    client.until(lambda: client.diagnostics, "diagnostics")

    def disturb() -> None:
        client.until(client.clicks.get_subscription_count, "the click subscription")
        before = int(client.diagnostics["prompts refused"])
        client.clicks.publish(PointStamped(point=Point(x=xy[0], y=xy[1])))
        client.until(lambda: int(client.diagnostics["prompts refused"]) > before, "the refusal in the diagnostics")

    survives(disturb)
