"""Hostile and broken input to a running tracker, as one table: a sentence or a counted drop, and nothing is lost.

A row names what is sent and the words of the answer. While it is sent two objects are tracked, which must come out bit
for bit as if nothing had been sent. To add a kind of bad input, add its row.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Point, PointStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from sam_msgs.msg import LabeledBox, LabeledPoint, TrackedObjectArray
from sam_msgs.srv import AddPrompt, DetectConcept, FollowConcept, RemoveObject, UnfollowConcept
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import to_time
from sam_ros.runtime.processes import Executable

Picture = Callable[..., np.ndarray]
Send = Callable[[Any], None]
NAN, INF = float("nan"), float("inf")
LONG = "x" * 10**6


# --- How a row is sent, and what must come of it ----------------------------------------------------------------------


def refused(kind: Any, service: str, text: str, **request: Any) -> Send:
    """A service call that is refused with a text."""

    def send(client: Any) -> None:
        answer = client.call(kind, service, **request)
        assert not answer.success
        assert text in answer.message
        assert len(answer.message) < 1100

    return send


def prompt(text: str, **request: Any) -> Send:
    """A prompt that is refused."""
    return refused(AddPrompt, "add_prompt", text, **request)


def clipped(text: str, **request: Any) -> Send:
    """A prompt that is taken with a remark, for an object that is removed again."""

    def send(client: Any) -> None:
        answer = client.call(AddPrompt, "add_prompt", **request)
        assert answer.success
        assert answer.message.startswith(text) if text else answer.message == ""
        assert client.remove(answer.object_id).success

    return send


def dropped(text: str, image: Image) -> Send:
    """An image that is dropped, counted and told to the operator."""

    def send(client: Any) -> None:
        cause = "unreadable image"
        client.until(lambda: client.diagnostics, "diagnostics")
        before = client.dropped(cause)
        image.header = client.header()
        client.images.publish(image)
        client.until(lambda: client.dropped(cause) == before + 1, "the drop in the diagnostics")
        assert text in client.diagnostics["last error"]
        assert client.level == b"\x01", "the operator is warned"
        assert text in client.message
        assert len(client.message) < 1000

    return send


def click(x: float, y: float) -> Send:
    """A click that is refused and counted."""

    def send(client: Any) -> None:
        client.until(lambda: client.diagnostics and client.clicks.get_subscription_count(), "click subscription")
        before = int(client.diagnostics["prompts refused"])
        client.clicks.publish(PointStamped(point=Point(x=x, y=y)))
        client.until(lambda: int(client.diagnostics["prompts refused"]) > before, "the refusal in the diagnostics")

    return send


def parameter(text: str, name: str, **value: Any) -> Send:
    """A parameter that is refused, alone and atomically."""

    def send(client: Any) -> None:
        request = [Parameter(name=name, value=ParameterValue(**value))]
        answers = [
            client.call(SetParameters, "set_parameters", parameters=request).results[0],
            client.call(SetParametersAtomically, "set_parameters_atomically", parameters=request).result,
        ]
        for answer in answers:
            assert not answer.successful
            assert text in answer.reason
            assert len(answer.reason) < 1100

    return send


def transition(number: int) -> Send:
    """A transition that there is not."""

    def send(client: Any) -> None:
        assert not client.call(ChangeState, "change_state", transition=Transition(id=number)).success

    return send


def correction(client: Any) -> None:
    """A correction that is refused leaves label and scores of its object."""
    known = client.list().objects[0]
    answer = client.prompt((500, 3), object_id=known.id, label="renamed")
    assert not answer.success
    assert client.list().objects[0] == known


# --- What is sent -----------------------------------------------------------------------------------------------------


def image(encoding: str, width: int, height: int, step: int, data: int) -> Image:
    """Make an image message whose fields need not fit each other; `data` in bytes."""
    message = Image(encoding=encoding, width=width, height=height, step=step)
    message.data = array.array("B", bytes(data))
    return message


def points(*xy: tuple[float, float], label: int = LabeledPoint.POSITIVE) -> dict[str, Any]:
    return {"points": [LabeledPoint(x=float(x), y=float(y), label=label) for x, y in xy]}


def mask(height: int, width: int, value: int = 255, encoding: str = "mono8") -> dict[str, Any]:
    return {"mask": array_to_image(np.full((height, width), value, np.uint8), encoding, Header())}


def exemplar(*corners: float) -> dict[str, Any]:
    names = ("x_min", "y_min", "x_max", "y_max")
    return {"exemplars": [LabeledBox(**dict(zip(names, corners, strict=True)), label=LabeledBox.POSITIVE)]}


def detect(text: str, **request: Any) -> Send:
    return refused(DetectConcept, "detect_concept", text, **request)


def follow(text: str, **request: Any) -> Send:
    return refused(FollowConcept, "follow_concept", text, **request)


TABLE: dict[str, Send] = {
    # images
    "image: unknown encoding": dropped("unknown encoding '32FC7'", image("32FC7", 128, 96, 3584, 344064)),
    "image: long encoding": dropped("more characters)", image(LONG, 128, 96, 3584, 344064)),
    "image: zero size": dropped("no pixels", image("rgb8", 0, 0, 0, 0)),
    "image: zero height": dropped("no pixels", image("rgb8", 128, 0, 384, 0)),
    "image: short data": dropped("data holds 36863 bytes", image("rgb8", 128, 96, 384, 384 * 96 - 1)),
    "image: short step": dropped("step is 383 bytes", image("rgb8", 128, 96, 383, 383 * 96)),
    "image: odd yuv": dropped("multiple of 2", image("yuv422", 127, 96, 254, 254 * 96)),
    "image: claims to be huge": dropped("pixels", image("rgb8", 2**31, 2**31, 2**32 - 1, 100)),
    # prompts
    "prompt: empty": prompt("empty"),
    "prompt: point right of the image": prompt("outside the image of 128×96 px", **points((133, 40))),
    "prompt: point left of the image": prompt("outside the image of 128×96 px", **points((40, 45), (-4.5, 3))),
    "prompt: NaN point": prompt("NaN", **points((NAN, 3))),
    "prompt: infinite point": prompt("infinity", **points((3, INF))),
    "prompt: unknown label": prompt("label is 1 (positive) or 0 (negative), not 7", **points((3, 3), label=7)),
    "prompt: too many points": prompt("at most 100 points on one frame, not 40000", **points(*[(3, 3)] * 40_000)),
    "prompt: box with x2 = x1": prompt("out of order", box=[50.0, 10.0, 50.0, 20.0]),
    "prompt: box with x2 < x1": prompt("out of order", box=[50.0, 10.0, 40.0, 20.0]),
    "prompt: box with y2 < y1": prompt("out of order", box=[50.0, 30.0, 60.0, 20.0]),
    "prompt: NaN box": prompt("NaN", box=[50.0, 10.0, NAN, 20.0]),
    "prompt: box outside the image": prompt("leaves the image", box=[50.0, 10.0, 60.0, 101.0]),
    "prompt: box of three numbers": prompt("four numbers", box=[50.0, 10.0, 60.0]),
    "prompt: mask of another size": prompt("95 × 128", **mask(95, 128)),
    "prompt: empty mask": prompt("mask is empty", **mask(96, 128, value=0)),
    "prompt: mask of 16 bit": prompt("must be mono8 or 8UC1, not 'mono16'", **mask(96, 128, encoding="mono16")),
    "prompt: short mask": prompt("data holds 100 bytes", mask=image("mono8", 128, 96, 128, 100)),
    "prompt: mask and point": prompt("mask stands alone", **mask(96, 128), **points((3, 3))),
    "prompt: mask of long encoding": prompt("more characters)", mask=image(LONG, 128, 96, 128, 12288)),
    "prompt: long label": prompt("at most 256 are allowed", label=LONG, **points((3, 3))),
    "prompt: escape sequence": prompt("control character U+001B", label="a\x1b[2J", **points((3, 3))),
    "prompt: unknown object": prompt("no object 4000000", object_id=4_000_000, **points((3, 3))),
    "prompt: unknown stamp": prompt("A stamp of zero means the newest image", stamp=to_time(7), **points((3, 3))),
    "prompt: bad correction": correction,
    "prompt: box a little outside": clipped("The box was clipped to the image of 128×96", box=[-1.5, 10.0, 60.0, 97.0]),
    "prompt: x = width": clipped("1 point(s) just outside the image of 128×96 px", **points((128, 40), (30, 30))),
    "prompt: box along the border": clipped("", box=[0.0, 10.0, 128.0, 96.0]),
    # other services
    "remove: unknown object": refused(RemoveObject, "remove_object", "no object 4000000", object_id=4_000_000),
    "detect: nothing": detect("phrase"),
    "detect: long phrase": detect("256", phrases=[LONG]),
    "detect: many phrases": detect("at most", phrases=["cup"] * 10_000),
    "detect: NaN threshold": detect("nan", phrases=["cup"], score_threshold=NAN),
    "detect: threshold above 1": detect("7", phrases=["cup"], score_threshold=7.0),
    "detect: unknown stamp": detect("not", phrases=["cup"], stamp=to_time(7)),
    "detect: exemplar far outside": detect("outside", **exemplar(10.0, 10.0, 500.0, 50.0)),
    "detect: NaN exemplar": detect("finite", **exemplar(10.0, NAN, 50.0, 50.0)),
    "follow: empty phrase": follow("empty", phrase="  "),
    "follow: long phrase": follow("256", phrase=LONG),
    "follow: period 0": follow("above 0", phrase="cup", period=0.0),
    "follow: endless period": follow("above 0", phrase="cup", period=INF),
    "follow: match_iou 0": follow("above 0", phrase="cup", match_iou=0.0),
    "unfollow: unknown phrase": refused(UnfollowConcept, "unfollow_concept", "is not followed", phrase=LONG),
    "transition: unknown": transition(200),
    "transition: not from this state": transition(Transition.TRANSITION_CONFIGURE),
    # clicks
    "click: NaN": click(NAN, 3.0),
    "click: right of the image": click(500.0, 3.0),
    "click: above the image": click(3.0, -5.0),
    "click: far away": click(1e300, 3.0),
    "click: infinite": click(INF, INF),
    # parameters
    "parameter: NaN": parameter("nan", "mask_threshold", type=ParameterType.PARAMETER_DOUBLE, double_value=NAN),
    "parameter: out of range": parameter(
        "range", "mask_threshold", type=ParameterType.PARAMETER_DOUBLE, double_value=1e9
    ),
    "parameter: another type": parameter(
        "type", "publish_masks", type=ParameterType.PARAMETER_STRING, string_value="yes"
    ),
    "parameter: no type": parameter("189", "mask_threshold", type=189),
    "parameter: read-only": parameter("read-only", "model", type=ParameterType.PARAMETER_STRING, string_value=LONG),
    "parameter: unknown": parameter("declared", "no_such_thing", type=ParameterType.PARAMETER_INTEGER, integer_value=3),
}


# --- The test ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def target(
    ros: None,
    micro: dict[str, Any],
    make_lasting_client: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """A client of a tracker with a detector."""
    topic = "/target/image"
    parameters = {**micro, "detector": "sam3_toy", "autostart": True}
    parameters[f"qos_overrides.{topic}.subscription.reliability"] = "reliable"
    log = tmp_path_factory.mktemp("target") / "log"
    with Executable("tracker", parameters, remappings={"__node": "target", "image": topic}, log=log) as process:
        client = make_lasting_client("/target", image=topic)
        client.wait_until_active()
        yield client
        assert process.running, process.output()
    assert process.exit_code == 0, process.output()


def episode(client: Any, picture: Picture, disturb: Send = lambda _: None) -> list[TrackedObjectArray]:
    """Track two objects over four images; `disturb` happens between the first and the second after their prompts."""
    assert client.reset().success
    client.track(picture(0))
    assert client.prompt((40, 45), label="square").success
    assert client.call(AddPrompt, "add_prompt", box=[60.0, 10.0, 120.0, 90.0]).success
    results = [client.track(picture(1))]
    disturb(client)
    return results + [client.track(picture(i)) for i in (2, 3, 4)]


def essence(results: list[TrackedObjectArray]) -> list[list[tuple[Any, ...]]]:
    """Return what must not change from episode to episode: all but stamps and ids."""
    return [
        [(o.label, o.state, o.predicted_iou, o.presence, o.area, bytes(o.mask.data)) for o in result.objects]
        for result in results
    ]


@pytest.fixture(scope="module")
def undisturbed(target: Any, picture: Picture) -> list[Any]:
    """The result of an episode without disturbance."""
    return essence(episode(target, picture))


@pytest.mark.parametrize("send", TABLE.values(), ids=TABLE)
def test_hostile_input_gets_an_answer_and_changes_nothing(
    target: Any, picture: Picture, undisturbed: list[Any], send: Send
) -> None:
    assert essence(episode(target, picture, send)) == undisturbed
