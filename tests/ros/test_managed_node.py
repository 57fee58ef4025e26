"""Transitions in a thread of their own: one at a time, and none refused that its state allows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from sam_ros.runtime.managed_node import ManagedNode, transition


class Slow(ManagedNode):
    """A node that configures when it is let."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.gate = threading.Event()
        self.fails = False
        answer = self._change_state

        def dawdle(request: Any, response: Any) -> Any:
            answer(request, response)
            time.sleep(0.3)  # the new state is published, the transition's thread still runs
            return response

        self._change_state = dawdle

    @transition
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.gate.wait(60.0)
        if self.fails:
            raise ValueError("no such file")
        return super().on_configure(state)


@pytest.fixture
def slow(ros: None) -> Iterator[Slow]:
    node, executor, ended = Slow(), SingleThreadedExecutor(), threading.Event()
    executor.add_node(node)

    def spin() -> None:
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin)
    thread.start()
    yield node
    node.gate.set()
    ended.set()
    thread.join()
    node.destroy_node()
    executor.shutdown()


def test_a_request_on_the_event_of_the_last_transition_is_not_refused(
    slow: Slow, make_client: Callable[..., Any]
) -> None:
    """As launch asks for `activate` when it sees the node inactive."""
    client = make_client("/slow", image="/slow/image")
    change, asked = client.client(ChangeState, "change_state"), []

    def on_event(event: TransitionEvent) -> None:
        if event.goal_state.label == "inactive":
            activate = Transition(id=Transition.TRANSITION_ACTIVATE)
            asked.append(change.call_async(ChangeState.Request(transition=activate)))

    client.node.create_subscription(TransitionEvent, "/slow/transition_event", on_event, 10)
    client.call(GetState, "get_state")
    configure = change.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
    client.until(lambda: client.call(GetState, "get_state").current_state.label == "configuring", "configuring")
    slow.gate.set()
    client.until(lambda: asked and asked[0].done() and configure.done(), "both answers")
    assert configure.result().success
    assert asked[0].result().success
    assert client.call(GetState, "get_state").current_state.label == "active"


def test_what_a_transition_raises_is_kept_until_the_next(slow: Slow) -> None:
    slow.gate.set()
    slow.fails = True
    assert slow.trigger_configure() == TransitionCallbackReturn.ERROR
    assert slow.failure == "on_configure failed: ValueError: no such file"
    slow.fails = False
    slow.trigger_configure()
    assert slow.failure == ""


def test_the_end_of_the_process_does_not_wait_for_a_transition(slow: Slow) -> None:
    assert slow.settle(0.0), "none is at work"
    slow.autostart()
    started = time.monotonic()
    assert not slow.settle(0.2)
    assert time.monotonic() - started < 10.0
    slow.gate.set()
    assert slow.settle(60.0)
    assert slow.ending
    assert slow._state_machine.current_state[1] == "inactive", "it goes no further"


@pytest.mark.parametrize("raises", [False, True])
def test_a_transition_that_the_state_does_not_allow_is_refused(
    raises: bool, slow: Slow, make_client: Callable[..., Any]
) -> None:
    """Where rclpy answers, and where it raises, as that of ROS 2 Jazzy does."""
    if raises:

        def refuse(request: Any, response: Any) -> Any:
            raise RuntimeError("Transition is not registered.")

        slow._change_state = refuse
    client = make_client("/slow", image="/slow/image")
    activate = Transition(id=Transition.TRANSITION_ACTIVATE)
    assert not client.call(ChangeState, "change_state", transition=activate).success
    assert client.call(GetState, "get_state").current_state.label == "unconfigured"
