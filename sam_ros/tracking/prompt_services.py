"""The prompt services and the click topic: requests go to the inference thread, which owns the stream."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from geometry_msgs.msg import Point, PointStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from sam_msgs.srv import AddPrompt, ListObjects, RemoveObject
from std_srvs.srv import Trigger

from sam_core import (
    CapacityError,
    FrameResult,
    ImageError,
    NoFrameError,
    ObjectIdError,
    PromptError,
    SavedObjectError,
    UnknownObjectError,
)
from sam_ros.conversions.messages import summary_message
from sam_ros.conversions.prompts import prompt_of
from sam_ros.conversions.stamps import format_stamp, nanoseconds, stamp_of, to_time
from sam_ros.runtime.errors import RefusedError
from sam_ros.runtime.lifecycle import ACTIVE, CONFIGURED, TRANSITIONS, state_of
from sam_ros.runtime.logs import BoundedLog
from sam_ros.runtime.qos import SERVICE_QOS
from sam_ros.runtime.texts import legible
from sam_ros.runtime.waiting import answer_of
from sam_ros.tracking.inference import InferenceThread
from sam_ros.tracking.request_memory import RequestMemory, bytes_of
from sam_ros.tracking.session import Session
from sam_ros.tracking.statistics import Statistics
from sam_ros.tracking.work_queue import Lane

__all__ = ["PromptServices"]

R = TypeVar("R")

LONGEST_ANSWER = 1000  # characters of a reason
# Errors of a command that cannot be carried out: the caller gets the text, and the tracker is fine.
REFUSALS = (
    RefusedError,
    PromptError,
    UnknownObjectError,
    CapacityError,
    NoFrameError,
    ImageError,
    ObjectIdError,
    SavedObjectError,
)


class NotReadyError(RefusedError):
    """The node is in a lifecycle state in which it cannot carry out the command."""


class PromptServices:
    """Serve add_prompt, remove_object, list_objects and reset, in every lifecycle state.

    A service hands its command to the inference thread and awaits the answer as a coroutine. The executor has one
    thread, and it goes on receiving images meanwhile.

    Args:
        node: Where the services live.
        inference: Gives the inference thread of a configured node; None otherwise.
        statistics: Where refusals are counted.

    Attributes:
        memory: What all requests of clients take, those of other services included.
    """

    def __init__(
        self,
        node: LifecycleNode,
        *,
        inference: Callable[[], InferenceThread[Any] | None],
        statistics: Statistics,
    ) -> None:
        self._node = node
        self._inference = inference
        self._statistics = statistics
        self.memory = RequestMemory()
        self._log = BoundedLog(node.get_logger())
        # Reentrant: an awaiting service must keep neither images nor other services waiting.
        group = ReentrantCallbackGroup()
        for kind, name, callback in (
            (AddPrompt, "~/add_prompt", self._on_add_prompt),
            (RemoveObject, "~/remove_object", self._on_remove_object),
            (ListObjects, "~/list_objects", self._on_list_objects),
            (Trigger, "~/reset", self._on_reset),
        ):
            node.create_service(kind, name, callback, qos_profile=SERVICE_QOS, callback_group=group)

    async def _on_add_prompt(self, request: AddPrompt.Request, response: AddPrompt.Response) -> AddPrompt.Response:
        def add(session: Session) -> FrameResult:
            object_id = None if request.object_id == AddPrompt.Request.NEW else request.object_id
            return session.add_prompt(prompt_of(request), object_id, request.label, or_newest=request.or_newest)

        result, response.message = await self._ask(add, size=bytes_of(request), active=True)
        if result is not None:
            response.success = True
            response.object_id = result.object_ids[0]
            response.stamp = to_time(result.stamp)
            remarks = list(result.remarks)
            if nanoseconds(request.stamp) not in (0, result.stamp):
                remarks.append(f"applied to the image of {format_stamp(result.stamp)}, the nearest one at hand")
            response.message = " ".join(remarks)
        return response

    async def _on_remove_object(
        self, request: RemoveObject.Request, response: RemoveObject.Response
    ) -> RemoveObject.Response:
        _, response.message = await self._ask(lambda session: session.remove(request.object_id, "removed by a client"))
        response.success = not response.message
        return response

    async def _on_list_objects(self, _: ListObjects.Request, response: ListObjects.Response) -> ListObjects.Response:
        objects, response.message = await self._ask(lambda session: session.stream.objects, lane=Lane.QUERY)
        response.success = not response.message
        response.objects = [summary_message(info) for info in objects or ()]
        return response

    async def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        inference = self._inference()
        _, response.message = await self._ask(lambda session: session.reset("reset by a client"))
        response.success = not response.message
        if response.success and inference is not None:
            inference.begin_run()
        return response

    def on_click(self, message: PointStamped) -> None:
        """Apply a click (px); the answer goes to the log."""
        inference, point, stamp = self._inference(), message.point, stamp_of(message.header) or None
        if inference is None:
            return

        def tell(answer: Future[tuple[int, bool]]) -> None:
            try:
                object_id, new = answer.result()
            except Exception as error:
                self.refuse(error)
            else:
                self._log.info(f"click {'starts' if new else 'corrects'} object {object_id}")

        clicked = inference.submit(lambda session: session.click(point.x, point.y, stamp), Lane.PROMPT)
        clicked.add_done_callback(tell)

    def on_overlay_click(self, message: Point) -> None:
        """Apply a click of rqt_image_view (px) to the newest image."""
        self.on_click(PointStamped(point=message))

    async def _ask(
        self, command: Callable[[Session], R], *, size: int = 0, active: bool = False, lane: Lane = Lane.PROMPT
    ) -> tuple[R | None, str]:
        """Run a command in the inference thread without holding up the executor.

        Args:
            command: What to do.
            size: Memory that its request takes, in bytes.
            active: Whether the node must be active for it.
            lane: Where it waits for its turn.

        Returns:
            The command's result and an empty text, or None and the reason in a full sentence.
        """
        try:
            with self.memory.hold(size):
                return await answer_of(self._node, self.tracking(active=active).submit(command, lane)), ""
        except Exception as error:
            return None, self.refuse(error)

    def tracking(self, *, active: bool) -> InferenceThread[Any]:
        """Return the inference thread.

        Args:
            active: Whether the node must be active, too.

        Raises:
            NotReadyError: The node is in another state.
        """
        inference, state = self._inference(), state_of(self._node)
        if state == "finalized":
            raise NotReadyError("the tracker was shut down; start its process again")
        if state in TRANSITIONS:
            raise NotReadyError(f"the tracker is {state}; ask again when that is done")
        if state not in CONFIGURED or inference is None:
            needed = "configure and activate" if active else "configure"
            raise NotReadyError(f"the tracker is {state}; {needed} it first")
        if active and state != ACTIVE:
            raise NotReadyError(f"the tracker is {state}; activate it first")
        return inference

    def refuse(self, error: Exception) -> str:
        """Count and log a command that failed, and return what to answer."""
        if isinstance(error, REFUSALS):
            self._statistics.prompt_refused()
            self._log.warning(f"refused: {error}")
            return legible(str(error), LONGEST_ANSWER)
        text = f"a command failed: {type(error).__name__}: {error}"
        self._statistics.error(text)
        self._log.error(text)
        return legible(text, LONGEST_ANSWER)
