"""Many clients at once: each request gets an answer.

The clients have a deep QoS, too: rmw_fastrtps brings every answer of a service to all of its clients.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future
from sam_msgs.srv import AddPrompt, ListObjects

from sam_ros.runtime.qos import SERVICE_QOS

CLIENTS = 20
EACH = 5


@pytest.fixture
def crowd(client: Any) -> Iterator[list[Node]]:
    """Twenty nodes, spun by the client's executor."""
    executor: SingleThreadedExecutor = client._executor
    nodes = [Node(f"crowd_{i}") for i in range(CLIENTS)]
    for node in nodes:
        executor.add_node(node)
    yield nodes
    for node in nodes:
        executor.remove_node(node)
        node.destroy_node()


def acquaintance(service: Client, request: Any) -> Callable[[], bool]:
    """Return a condition that asks until there is an answer: one to a client that the service does not know is lost."""
    asked: list[tuple[float, Future]] = []

    def answered() -> bool:
        if not asked or time.monotonic() > asked[-1][0] + 2.0:
            asked.append((time.monotonic(), service.call_async(request)))
        return any(future.done() for _, future in asked)

    return answered


@pytest.mark.parametrize(
    ("kind", "name", "request_"),
    [
        pytest.param(ListObjects, "list_objects", ListObjects.Request(), id="list"),
        pytest.param(AddPrompt, "add_prompt", AddPrompt.Request(box=[60.0, 10.0, 120.0, 90.0]), id="prompt"),
    ],
)
def test_every_request_of_twenty_clients_is_answered(
    client: Any, crowd: list[Node], picture: Callable[..., np.ndarray], kind: Any, name: str, request_: Any
) -> None:
    client.track(picture(0))
    services = [node.create_client(kind, f"{client.tracker}/{name}", qos_profile=SERVICE_QOS) for node in crowd]
    client.until(lambda: all(service.service_is_ready() for service in services), "the service")
    for service in services:
        client.until(acquaintance(service, request_), f"a first answer to {service}")
    futures = [service.call_async(request_) for _ in range(EACH) for service in services]
    client.until(lambda: all(future.done() for future in futures), "all answers")
    answers = [future.result() for future in futures]
    assert all(answer.success or answer.message for answer in answers)
    busy = [answer for answer in answers if "the tracker is busy" in answer.message]
    assert len(busy) < len(answers) - 10, "refused is only what exceeds the queue"
