"""Lifecycle nodes that say why a transition failed, and one whose transitions run beside its executor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import wraps
from typing import Any, TypeVar

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from sam_ros.runtime.lifecycle import TRANSITIONS, state_of
from sam_ros.runtime.texts import legible
from sam_ros.runtime.waiting import answer_of

__all__ = ["LoggedNode", "ManagedNode", "transition"]

N = TypeVar("N", bound="LoggedNode")


def transition(callback: Callable[[N, LifecycleState], TransitionCallbackReturn]) -> Callable[..., Any]:
    """Note what `on_configure` or its like raises. rclpy turns an exception into an error without logging it."""

    @wraps(callback)
    def wrapped(node: N, state: LifecycleState) -> TransitionCallbackReturn:
        node.failure = ""
        try:
            return callback(node, state)
        except Exception as error:
            node.note_failure(f"{callback.__name__} failed: {type(error).__name__}: {error}")
            return TransitionCallbackReturn.ERROR

    return wrapped


class LoggedNode(LifecycleNode):
    """Log why a transition fails and keep the reason; let go of everything at each of a lifecycle's ends.

    A subclass marks its `on_configure` and its like with `transition`, and frees in `_release` what they made.

    Args:
        name: Name of the node.
        **kwargs: Passed to `rclpy.lifecycle.LifecycleNode`.

    Attributes:
        failure: Why the newest transition failed; empty where it did not.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.failure = ""

    def note_error(self, text: str) -> None:
        """Log an error."""
        self.get_logger().error(text)

    def note_failure(self, text: str) -> None:
        """Log why a transition fails, and keep it until the next one."""
        self.failure = legible(text)
        self.note_error(text)

    @transition
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back what `on_configure` took."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @transition
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from any state."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything after a failed transition, and be unconfigured again."""
        self._release()
        self.get_logger().warning("unconfigured after an error; configure again to go on")
        return TransitionCallbackReturn.SUCCESS

    def _release(self) -> None:
        """Let go of everything; called from any state, also twice."""


class ManagedNode(LoggedNode):
    """Run `on_configure` and its like in a thread of their own, one transition at a time.

    rclpy calls them in the executor's thread: while a model is loaded for ten seconds, no service answers, no
    diagnostics come, and Ctrl-C has no effect. `trigger_configure` and its like stay as they are; they return when the
    transition is done.

    Args:
        name: Name of the node.
        **kwargs: Passed to `rclpy.lifecycle.LifecycleNode`.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._at_work: Future[None] | None = None  # completed when the newest transition is done
        self._ending = threading.Event()
        # rclpy has no public hook for this. The group is reentrant, because an awaiting service holds up its group.
        service = self._service_change_state
        service.callback_group = ReentrantCallbackGroup()
        service.callback_group.add_entity(service)
        self._change_state: Callable[[Any, Any], Any] = service.callback
        service.callback = self._on_change_state

    @property
    def ending(self) -> bool:
        """Whether the process is about to end: a transition need not go on."""
        return self._ending.is_set()

    def autostart(self) -> None:
        """Begin to configure and activate the node."""

        def start() -> None:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS and not self.ending:
                self.trigger_activate()

        self._begin(start)

    def settle(self, timeout: float) -> bool:
        """Tell a transition at work that the process ends, and wait for it.

        Args:
            timeout: Seconds to wait.

        Returns:
            Whether no transition is at work any more.
        """
        self._ending.set()
        return self._at_work is None or not wait([self._at_work], timeout).not_done

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        while self._at_work is not None and not self._at_work.done():
            if state_of(self) in TRANSITIONS:
                self.get_logger().warning(f"refused to change the state: the node is {state_of(self)}")
                response.success = False
                return response
            await answer_of(self, self._at_work)  # its new state is known already, and it ends in a moment
        try:
            changed: ChangeState.Response = await answer_of(
                self, self._begin(lambda: self._change_state(request, response))
            )
        except RuntimeError as error:  # of rclpy in Jazzy, where later ones answer; a callback's own end in its state
            self.get_logger().warning(f"refused to change the state: the node is {state_of(self)} ({error})")
            response.success = False
            return response
        return changed

    def _begin(self, transition: Callable[[], Any]) -> Future[Any]:
        """Start a transition in a thread of its own and return its future result."""
        done: Future[Any] = Future()
        self._at_work = ended = Future[None]()

        def work() -> None:
            try:
                result = transition()
            except BaseException as error:
                ended.set_result(None)
                done.set_exception(error)
            else:
                ended.set_result(None)
                done.set_result(result)

        threading.Thread(target=work, name="transition", daemon=True).start()
        return done
