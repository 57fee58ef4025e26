"""Every service of a running tracker is called with generated requests, in every lifecycle state."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import given
from hypothesis import strategies as st
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import ListParameters, SetParameters
from rclpy.action import ActionClient
from sam_msgs.action import SegmentEverything
from sam_msgs.srv import DetectConcept, UnfollowConcept
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_ros.conversions.encodings import array_to_image
from sam_ros.runtime.processes import Executable
from tests.fuzzing import examples
from tests.ros.generate import interface, messages, signs

MIB = 2**20
MAY_GROW = 48 * MIB  # the allocator's slack; one leaked request of 64 searched frames would be more
STEPS = {  # states in the order of a life, and the transition that leads there
    "unconfigured": None,
    "inactive": Transition.TRANSITION_CONFIGURE,
    "active": Transition.TRANSITION_ACTIVATE,
    "finalized": Transition.TRANSITION_ACTIVE_SHUTDOWN,
}
OWN = {"add_prompt", "remove_object", "list_objects", "reset", "set_paused"}
OWN |= {"detect_concept", "follow_concept", "unfollow_concept", "change_state", "get_state", "set_parameters"}
OWN |= {"segment_image"}


class Life:
    """A tracker with a detector, led from state to state, and its services."""

    def __init__(self, process: Executable, client: Any) -> None:
        self.process = process
        self.client = client
        client.until(lambda: {name.rpartition("/")[2] for name in self._types()} >= OWN, "the services")
        self.services = {name: interface(kinds[0]) for name, kinds in self._types().items()}
        answer = client.call(ListParameters, "list_parameters")
        self.parameters = sorted(answer.result.names)
        self._state = "unconfigured"

    def _types(self) -> dict[str, list[str]]:
        name = self.client.tracker.lstrip("/")
        found = dict(self.client.node.get_service_names_and_types())
        ours = {service: kinds for service, kinds in found.items() if service.startswith(f"/{name}/")}
        return {service: kinds for service, kinds in ours.items() if "/_action/" not in service}  # of goals, see below

    def lead_to(self, state: str) -> None:
        """Take the transitions that are missing."""
        order = list(STEPS)
        for step in order[order.index(self._state) + 1 : order.index(state) + 1]:
            transition = Transition(id=STEPS[step])
            assert self.client.call(ChangeState, "change_state", transition=transition).success, self.process.output()
            self._state = step
        assert self.state() == state

    def state(self) -> str:
        return str(self.client.call(GetState, "get_state").current_state.label)

    def memory(self) -> int:
        """Return the process's resident memory, bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096


@pytest.fixture(scope="module")
def life(
    ros: None,
    micro: dict[str, Any],
    make_lasting_client: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Life]:
    topic = "/fuzzed/image"
    parameters = {**micro, "detector": "sam3_toy", "detector_queue": 2, "history_frames": 8}
    parameters[f"qos_overrides.{topic}.subscription.reliability"] = "reliable"
    names = {"__node": "fuzzed", "image": topic}
    log = tmp_path_factory.mktemp("fuzzed") / "log"
    with Executable("tracker", parameters, remappings=names, log=log) as process:
        yield Life(process, make_lasting_client("/fuzzed", image=topic))
        assert process.running, process.output()
    assert process.exit_code == 0, process.output()


def plausible(life: Life) -> dict[str, st.SearchStrategy[Any]]:
    """Return what makes requests come through the first checks."""
    mask = np.zeros((96, 128), np.uint8)
    mask[30:60, 20:50] = 255
    masks = st.one_of(st.just(Image()), st.just(array_to_image(mask, "mono8", Header())), messages(Image))
    names = st.one_of(st.sampled_from(life.parameters), st.text(signs, max_size=5))
    return {
        "mask": masks,
        "object_id": st.integers(0, 5),
        "points": st.just([]) | st.lists(messages(interface("sam_msgs/LabeledPoint")), max_size=3),
        "box": st.sampled_from([[], [60.0, 10.0, 120.0, 90.0]]) | st.lists(st.floats(width=32), max_size=4),
        "transition": messages(Transition, id=st.integers(100, 255), label=st.just("")),  # none of this state
        "names": st.lists(names, max_size=4),
        "parameters": st.lists(messages(ParameterMessage, name=names), max_size=3),
    }


def check(answer: Any) -> None:
    """A refusal says why, in bounds."""
    for item in (answer, *getattr(answer, "results", ())):
        text = getattr(item, "message", getattr(item, "reason", None))
        if text is not None:
            assert len(text) < 1100
            assert text or getattr(item, "success", getattr(item, "successful", True)), item


def fuzz(life: Life, rounds: int, between: Callable[[], Any] = lambda: None) -> None:
    """Call each service `rounds` times with generated requests."""
    requests = {name: messages(kind.Request, **plausible(life)) for name, kind in life.services.items()}

    @given(sent=st.fixed_dictionaries(requests))
    @examples(rounds)
    def call_all(sent: dict[str, Any]) -> None:
        between()
        for name, request in sent.items():
            fields = {field: getattr(request, field) for field in request.get_fields_and_field_types()}
            check(life.client.call(life.services[name], name, **fields))

    call_all()


@pytest.mark.parametrize("state", ["unconfigured", "inactive"])
def test_every_service_answers_before_the_tracker_is_active(life: Life, state: str) -> None:
    life.lead_to(state)
    fuzz(life, rounds=3)
    assert life.state() == state


def test_every_service_answers_while_the_tracker_works(life: Life, picture: Callable[..., np.ndarray]) -> None:
    life.lead_to("active")
    client, frames = life.client, itertools.count()
    fuzz(life, rounds=1)  # no image has come yet
    restore(life)
    for x in (20, 50, 80, 110):
        client.track(picture(next(frames)))
        assert client.prompt((x, 45)).success
    client.call(DetectConcept, "detect_concept", phrases=["cup"], max_instances=3)
    for _ in range(10):
        client.track(picture(next(frames)))
    before = life.memory()
    fuzz(life, rounds=12, between=lambda: client.publish(picture(next(frames))))
    restore(life)
    assert life.memory() - before < MAY_GROW
    assert life.state() == "active"
    assert client.track(picture(next(frames))).objects == []
    assert client.prompt((40, 45)).success
    assert len(client.track(picture(next(frames))).objects) == 1


def test_every_goal_ends(life: Life, picture: Callable[..., np.ndarray]) -> None:
    """Goals with generated fields, some of them cancelled, end with a result that says why."""
    life.lead_to("active")
    client, frames = life.client, itertools.count()
    action = ActionClient(client.node, SegmentEverything, f"{client.tracker}/segment_everything")
    client.until(action.server_is_ready, "the action")
    fields = {
        "action": st.integers(0, 2),
        "image": st.just(Image()) | st.just(array_to_image(picture(0), "rgb8", Header())) | messages(Image),
        "points_per_side": st.integers(0, 5) | st.integers(0, 2**32 - 1),
        "crop_layers": st.integers(0, 3),
    }

    @given(goal=messages(SegmentEverything.Goal, **fields), cancels=st.booleans())
    @examples(12)
    def send(goal: Any, cancels: bool) -> None:
        client.publish(picture(next(frames)))
        sent = action.send_goal_async(goal)
        client.until(sent.done, "the goal to be accepted")
        if cancels:
            sent.result().cancel_goal_async()
        ended = sent.result().get_result_async()
        client.until(ended.done, "the result")
        check(ended.result().result)

    send()
    action.destroy()
    restore(life)
    assert client.track(picture(next(frames))).objects == []


def test_generated_images_are_tracked_or_counted(life: Life, picture: Callable[..., np.ndarray]) -> None:
    """Each image that was published is published on as a result, or is counted as dropped."""
    life.lead_to("active")
    client = life.client
    client.track(picture(0))
    sizes, encodings = st.integers(0, 8), st.sampled_from(["rgb8", "bgra8", "mono16", "bayer_rggb8", "32FC1", "yuv422"])
    images = messages(Image, width=sizes, height=sizes, step=st.integers(0, 32), encoding=encodings)

    def account() -> tuple[int, int]:
        counts = client.diagnostics
        drops = sum(int(count) for name, count in counts.items() if name.startswith("images dropped"))
        return int(counts["images received"]), int(counts["images processed"]) + drops

    @given(image=images)
    @examples(20)
    def publish(image: Image) -> None:
        image.header = client.header()
        client.images.publish(image)

    publish()
    client.track(picture(1))
    # More may be counted as dropped than were received: what the middleware lost on a loaded machine.
    client.until(lambda: client.diagnostics and 20 < account()[0] <= account()[1], "an account of every image")


def test_every_service_answers_after_the_shutdown(life: Life) -> None:
    life.lead_to("finalized")
    fuzz(life, rounds=2)
    assert life.state() == "finalized"


def restore(life: Life) -> None:
    """Undo what requests may rightly have done."""
    client = life.client
    threshold = ParameterMessage(name="mask_threshold", value=ParameterValue(type=3, double_value=0.0))
    client.call(SetParameters, "set_parameters", parameters=[threshold])
    client.call(UnfollowConcept, "unfollow_concept")
    client.pause(False)
    assert client.reset().success
