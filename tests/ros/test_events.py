"""Events and names of objects, over DDS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sam_msgs.msg import ObjectEvent, TrackedObject
from sam_msgs.srv import ListEvents, LoadObjects, RenameObject, SaveObjects
from sensor_msgs.msg import Image

from sam_ros.conversions.stamps import nanoseconds, stamp_of

LATCHED = QoSProfile(
    depth=1000, reliability=QoSReliabilityPolicy.RELIABLE, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL
)


def subscribe(client: Any) -> list[ObjectEvent]:
    """Return a list that events come into."""
    events: list[ObjectEvent] = []
    client.node.create_subscription(ObjectEvent, f"{client.tracker}/events", events.append, LATCHED)
    return events


def test_events_of_a_life(client: Any, make_client: Callable[..., Any], picture: Callable[..., np.ndarray]) -> None:
    known = client.call(ListEvents, "list_events").events
    before = known[-1].sequence if known else 0
    client.track(picture(0))
    first, second = client.prompt((35, 45), label="cup").object_id, client.prompt((90, 20)).object_id
    shown = client.track(picture(1))
    assert [item.track_state for item in shown.objects] == [TrackedObject.TRACK_TRACKED] * 2
    assert [item.last_seen for item in shown.objects] == [shown.header.stamp] * 2
    prompted = client.objects[client.order[-2]].header
    assert client.remove(first).success
    assert client.reset().success

    told = client.call(ListEvents, "list_events", after=before).events
    assert [(event.kind, event.id, event.label, event.reason) for event in told] == [
        (ObjectEvent.APPEARED, first, "cup", "prompted"),
        (ObjectEvent.APPEARED, second, "", "prompted"),
        (ObjectEvent.REMOVED, first, "cup", "removed by a client"),
        (ObjectEvent.REMOVED, second, "", "reset by a client"),
    ]
    assert [event.header for event in told] == [prompted, prompted, shown.header, shown.header]
    assert [event.sequence for event in told] == list(range(before + 1, before + 5))
    assert [nanoseconds(event.last_seen) for event in told[2:]] == [stamp_of(shown.header)] * 2

    late = make_client()
    events = subscribe(late)
    late.until(lambda: events and events[-1].sequence == before + 4, "the events of before the subscription")
    assert events[-4:] == told
    assert client.call(ListEvents, "list_events", after=before + 4).events == []


def test_an_object_gets_another_name(client: Any, picture: Callable[..., np.ndarray]) -> None:
    client.track(picture(0))
    cup = client.prompt((35, 45), label="cup").object_id
    assert client.call(RenameObject, "rename_object", object_id=cup, label="red cup").success
    shown = client.track(picture(1))
    assert [(item.id, item.label) for item in shown.objects] == [(cup, "red cup")]
    client.until(lambda: f"object {cup}: red cup" in client.label_names(), "the label info")
    for wrong, words in (
        ({"object_id": cup + 1, "label": "x"}, f"no object {cup + 1}"),
        ({"object_id": cup, "label": "x" * 257}, "label"),
        ({"object_id": cup, "label": "a\x07"}, "label"),
    ):
        answer = client.call(RenameObject, "rename_object", **wrong)
        assert not answer.success
        assert words in answer.message
    assert [item.label for item in client.track(picture(2)).objects] == ["red cup"]


def test_without_a_folder_nothing_is_saved(client: Any) -> None:
    for kind, name in ((SaveObjects, "save_objects"), (LoadObjects, "load_objects")):
        answer = client.call(kind, name)
        assert not answer.success
        assert "objects_folder" in answer.message


@pytest.mark.slow
def test_an_object_that_is_hidden_is_occluded_lost_and_found(
    make_process: Callable[..., Any], make_client: Callable[..., Any], picture: Callable[..., np.ndarray]
) -> None:
    """The shipped weights, and an object that is not in some images."""
    reliable = {"qos_overrides./seen/image.subscription.reliability": "reliable"}
    parameters = {"autostart": True, "device": "cpu", "cpu_threads": 1, "lost_after": 0.4, **reliable}
    process = make_process("tracker", parameters, remappings={"__node": "seen", "image": "/seen/image"})
    client = make_client("/seen", image="/seen/image")
    client.wait_until_active()
    events = subscribe(client)
    hidden = picture(0)
    hidden[30:60, 20:50] = picture(10)[30:60, 20:50]  # where the square has moved away
    client.track(picture(0))
    assert client.prompt((35, 45), label="square").success, process.output()
    for images in ([picture(0)] * 4, [hidden] * 20, [picture(0)] * 6):
        for image in images:
            client.track(image)
    kinds = [event.kind for event in events]
    assert kinds == [ObjectEvent.APPEARED, ObjectEvent.OCCLUDED, ObjectEvent.LOST, ObjectEvent.FOUND]
    assert events[2].last_seen == events[1].last_seen
    assert nanoseconds(events[2].header.stamp) - nanoseconds(events[2].last_seen) >= 0.4e9
    assert isinstance(client.objects[client.order[-1]].objects[0].mask, Image)
