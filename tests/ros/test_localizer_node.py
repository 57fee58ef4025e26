"""The localizer's node in this process: parameters as people write them, and what its states keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sam_msgs.msg import TrackedObject, TrackedObjectArray
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from sam_core.localization import Location
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.stamps import to_time
from sam_ros.localization.localizer_node import LocalizerNode

SECOND = 10**9


@pytest.fixture
def start(ros: None) -> Iterator[Callable[..., LocalizerNode]]:
    """Make localizers, with start values as the command line gives them."""
    nodes: list[LocalizerNode] = []

    def make(*given: str) -> LocalizerNode:
        arguments = ["--ros-args"] + [word for setting in given for word in ("-p", setting)]
        nodes.append(LocalizerNode("localizer_in_process", cli_args=arguments))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_start_values_are_taken_as_people_write_them(start: Callable[..., LocalizerNode]) -> None:
    node = start("stamp_tolerance:=0", "max_range:=5")

    assert node.get_parameter("stamp_tolerance").value == 0.0
    assert node.get_parameter("max_range").type_ is Parameter.Type.DOUBLE
    with pytest.raises(InvalidParameterTypeException, match="max_range"):
        start("max_range:=far")
    with pytest.raises(InvalidParameterValueException, match="stamp_tolerance"):
        start("stamp_tolerance:=5")


def test_every_request_for_a_parameter_is_answered(start: Callable[..., LocalizerNode]) -> None:
    node = start()
    (service,) = (service for service in node.services if service.srv_name.endswith("/set_parameters"))
    values = [
        ParameterMessage(name="input_timeout", value=ParameterValue(type=99)),
        Parameter("input_timeout", value=3).to_parameter_msg(),
    ]
    refused, taken = service.callback(SetParameters.Request(parameters=values), SetParameters.Response()).results

    assert not refused.successful
    assert "cannot set input_timeout" in refused.reason
    assert taken.successful
    assert node.get_parameter("input_timeout").value == 3.0


def test_a_transition_that_fails_is_remembered(
    start: Callable[..., LocalizerNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(node: LocalizerNode) -> None:
        raise OSError("no room")

    monkeypatch.setattr("sam_ros.localization.localizer_node.Publishers", fail)
    node = start()

    assert node.trigger_configure() == TransitionCallbackReturn.ERROR
    assert node.failure == "on_configure failed: OSError: no room"


def test_nothing_that_was_received_outlives_deactivation(start: Callable[..., LocalizerNode]) -> None:
    node = start()
    node.trigger_configure()
    node.trigger_activate()
    header = Header(stamp=to_time(SECOND), frame_id="camera")
    node._on_objects(TrackedObjectArray(header=header, objects=[TrackedObject(id=1)]))
    node._on_depth(array_to_image(np.ones((4, 4), np.float32), "32FC1", Header(stamp=to_time(2 * SECOND))))
    node._colour.add(CameraInfo(header=header, width=4, height=4, k=[4.0, 0, 2, 0, 4, 2, 0, 0, 1]))
    box = Location("box", np.zeros(3), np.eye(3), np.ones(3), np.eye(6), True, 100, 1.0, 0.0, False)
    node._motions.update(1, SECOND, box)
    assert node._matcher.waiting == 1
    node.trigger_deactivate()

    assert not node._matcher.waiting
    assert not node._matcher._right
    assert not node._motions._motions
    assert node._colour.at(SECOND) is None
    assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
