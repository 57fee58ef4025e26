"""What the console's node subscribes to, and which trackers it knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from sam_ros.console.ros.console_node import MOST_TRACKERS, ConsoleNode
from sam_ros.console.ros.link import TrackerLink
from sam_ros.runtime.errors import FatalError


@pytest.mark.parametrize(
    ("name", "value"),
    [("trackers", ["bad name"]), ("trackers", ["/a/"]), ("trackers", ["/a", "//b"]), ("image", "/bad topic"),
     ("image", "images//raw"), ("hosts", ["http://robot.example"]), ("hosts", ["robot.example/"]), ("hosts", ["a b"]),
     ("token", "short")],
)  # fmt: skip
def test_a_parameter_that_makes_no_sense_ends_with_a_sentence(ros: None, name: str, value: object) -> None:
    with pytest.raises(FatalError, match=name):
        ConsoleNode(parameter_overrides=[Parameter(name, value=value)])


def test_parameters_that_make_sense(ros: None) -> None:
    hosts = ["robot.local:8088", "Robot.Example", "[fd00::1]:8088"]
    given = {"hosts": hosts, "trackers": ["tracker", "/robot/tracker"], "image": "camera/image/compressed"}
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    node = ConsoleNode(namespace="/robot2", parameter_overrides=overrides)
    assert node.settings.hosts == tuple(hosts)
    assert sorted(node.links) == ["/robot/tracker", "/robot2/tracker"], "a relative name is of the console's namespace"
    node.destroy_node()


@pytest.fixture
def node(ros: None) -> Iterator[Node]:
    node = Node("test_console_link")
    yield node
    node.destroy_node()


def topics(node: Node) -> list[str]:
    return [subscription.topic_name for subscription in node.subscriptions]


def test_results_are_subscribed_to_once_and_images_when_they_are_known(node: Node) -> None:
    before = topics(node)
    link = TrackerLink(node, "/nobody", image="", most_bytes=2**20)
    link.look()
    for _ in range(3):
        link.refresh()
    assert sorted(topics(node)) == sorted([*before, "/nobody/events", "/nobody/objects"])
    link._image = "/camera/image/compressed"
    for _ in range(2):
        link.refresh()
    assert topics(node).count("/camera/image/compressed") == topics(node).count("/nobody/objects") == 1
    assert link.image_topic == "/camera/image/compressed"

    link._looked = -1e9
    link.refresh()
    assert sorted(topics(node)) == sorted([*before, "/nobody/events"])
    link.close()
    assert topics(node) == before
    assert list(node.clients) == []


def test_a_new_tracker_takes_the_place_of_one_that_is_gone(ros: None) -> None:
    node = ConsoleNode(parameter_overrides=[Parameter("trackers", value=["/nobody"])])
    for i in range(1, MOST_TRACKERS):
        node._add(f"/tracker{i}")
    node._links["/nobody"].look()
    node._add("/new")
    names = list(node.links)
    assert len(names) == MOST_TRACKERS
    assert {"/new", "/nobody"} <= set(names), "somebody looks at the one"
    assert "/tracker1" not in names
    for link in node._links.values():
        link.look()
    node._add("/newer")
    assert "/newer" not in node.links
    node.destroy_node()
