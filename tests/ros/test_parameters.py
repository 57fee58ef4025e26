"""The tracker's parameters, asked and set from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.parameter import Parameter

from sam_ros.node.concept_parameters import CONCEPT_DESCRIPTORS
from sam_ros.node.parameters import TrackerParameters, declare_parameters
from sam_ros.runtime.dds import PROFILE_VARIABLE

LIVE = {"mask_threshold", "publish_masks", "expected_rate", "image_timeout", "result_timeout"}
LIVE |= {"occluded_after", "lost_after", "found_after"}


def set_parameter(client: Any, name: str, value: Any) -> Any:
    request = [Parameter(name, value=value).to_parameter_msg()]
    return client.call(SetParameters, "set_parameters", parameters=request).results[0]


@pytest.fixture
def live(client: Any) -> Iterator[Callable[[str, Any], Any]]:
    """Set parameters of the shared tracker, and put them back afterwards."""
    changed: set[str] = set()

    def change(name: str, value: Any) -> Any:
        changed.add(name)
        return set_parameter(client, name, value)

    yield change
    for name in changed:
        assert set_parameter(client, name, getattr(TrackerParameters(), name)).successful


def test_every_parameter_says_what_it_is(client: Any) -> None:
    names = [field.name for field in fields(TrackerParameters)]
    descriptors = client.call(DescribeParameters, "describe_parameters", names=names).descriptors
    assert [descriptor.name for descriptor in descriptors] == names
    assert all(descriptor.description for descriptor in descriptors)
    assert {descriptor.name for descriptor in descriptors if not descriptor.read_only} == LIVE | set(
        CONCEPT_DESCRIPTORS
    )
    ranges = {d.name: d.integer_range[0] for d in descriptors if d.integer_range}
    assert (ranges["max_objects"].from_value, ranges["max_objects"].to_value) == (1, 256)


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "sam2_nano"), ("max_objects", 7), ("device", "cuda"), ("image_transport", "compressed")],
)
def test_what_cannot_change_says_so(client: Any, name: str, value: Any) -> None:
    before = client.call(GetParameters, "get_parameters", names=[name]).values
    answer = set_parameter(client, name, value)
    assert not answer.successful
    assert "read-only" in answer.reason
    assert name in answer.reason
    assert client.call(GetParameters, "get_parameters", names=[name]).values == before


def test_the_mask_threshold_changes_live(
    client: Any, live: Callable[[str, Any], Any], picture: Callable[..., np.ndarray]
) -> None:
    client.track(picture(0))
    assert client.call_prompt_with_mask().success
    plain = client.track(picture(1)).objects[0]
    assert live("mask_threshold", -30.0).successful
    everything = client.track(picture(2)).objects[0]
    assert live("mask_threshold", 30.0).successful
    nothing = client.track(picture(3)).objects[0]
    assert (nothing.area, everything.area) == (0, 96 * 128)
    assert 0 < plain.area < 96 * 128
    client.until(lambda: client.label_info and client.label_info.threshold > 0.99, "the label info: a probability")


def test_masks_can_be_switched_off(
    client: Any, live: Callable[[str, Any], Any], picture: Callable[..., np.ndarray]
) -> None:
    client.track(picture(0))
    assert client.call_prompt_with_mask().success
    assert live("publish_masks", False).successful
    assert len(client.track(picture(1)).objects[0].mask.data) == 0
    assert live("publish_masks", True).successful
    item = client.track(picture(2)).objects[0]
    assert len(item.mask.data) == item.box.width * item.box.height


def test_an_expectation_changes_the_verdict(
    client: Any, live: Callable[[str, Any], Any], picture: Callable[..., np.ndarray]
) -> None:
    assert live("image_timeout", 0.0).successful
    assert live("expected_rate", 500.0).successful
    client.track(picture(0))
    client.until(lambda: "expected are 500.0 Hz" in client.message, "a warning")
    assert client.level == b"\x01"
    assert PROFILE_VARIABLE in client.message


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("mask_threshold", 33.0, "out of range"),
        ("mask_threshold", float("nan"), ""),
        ("mask_threshold", "high", "Wrong parameter type"),
        ("image_timeout", -1.0, "out of range"),
        ("expected_rate", float("inf"), ""),
    ],
)
def test_nonsense_is_refused(client: Any, name: str, value: Any, reason: str) -> None:
    before = client.call(GetParameters, "get_parameters", names=[name]).values
    answer = set_parameter(client, name, value)
    assert not answer.successful
    assert answer.reason
    assert reason in answer.reason
    assert client.call(GetParameters, "get_parameters", names=[name]).values == before


def declared(*given: str) -> TrackerParameters:
    """Declare the parameters in a node that was started with `given`."""
    arguments = ["--ros-args"] + [word for setting in given for word in ("-p", setting)]
    node = Node("declares", cli_args=arguments, start_parameter_services=False)
    try:
        return declare_parameters(node)
    finally:
        node.destroy_node()


@pytest.mark.usefixtures("ros")
def test_start_values_are_taken_as_people_write_them() -> None:
    given = declared("overrides:=[]", "detector_overrides:=['a.b=1']", "mask_threshold:=2", "stamp_tolerance:=0")
    assert (given.overrides, given.detector_overrides) == ((), ("a.b=1",))
    assert (given.mask_threshold, given.stamp_tolerance) == (2.0, 0.0)
    assert isinstance(given.mask_threshold, float)
    for wrong in ("mask_threshold:=true", "max_objects:=4.5", "overrides:=[1]", "checkpoint:=5"):
        with pytest.raises(InvalidParameterTypeException, match=wrong.split(":")[0]):
            declared(wrong)


def test_an_integer_is_taken_for_a_number(client: Any, live: Callable[[str, Any], Any]) -> None:
    assert live("mask_threshold", 3).successful
    (value,) = client.call(GetParameters, "get_parameters", names=["mask_threshold"]).values
    assert value.double_value == 3.0
    assert not live("mask_threshold", 33).successful
    assert not live("mask_threshold", True).successful
