"""The action that segments everything in one image, while images keep being tracked.

A goal's way: action server (executor thread) -> inference thread, one batch of points at a time, frames in between ->
feedback after each batch -> result. One goal is worked on at a time. An action's refusal carries no text, so a goal
that cannot be done is accepted, and aborted with a sentence.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from sam_msgs.action import SegmentEverything
from sam_msgs.msg import ImageMask
from sensor_msgs.msg import Image

from sam_core import AutomaticMasks, FoundMask, ImagePredictor
from sam_core.automatic_masks import Progress
from sam_core.streaming import CroppedMask
from sam_ros.conversions.decoder import ImageDecoder
from sam_ros.conversions.image_masks import image_mask_message
from sam_ros.runtime.errors import RefusedError
from sam_ros.runtime.waiting import answer_of
from sam_ros.still_images.goal import EverythingGoal, goal_of
from sam_ros.still_images.segment_service import LARGEST_ANSWER
from sam_ros.still_images.source import StillImage, is_given, still_image
from sam_ros.still_images.tracking import Tracked, track
from sam_ros.tracking.inference import InferenceThread
from sam_ros.tracking.prompt_services import PromptServices
from sam_ros.tracking.request_memory import bytes_of
from sam_ros.tracking.session import Session
from sam_ros.tracking.work_queue import Lane

__all__ = ["EverythingAction"]

RESULT_KEPT = 30  # s that a result is kept for a client that asks late
POINTS_ON_GPU = 64  # that a frame may have to wait for
POINTS_ON_CPU = 16
MESSAGES_AT_ONCE = 16


class _CancelledError(Exception):
    """The client cancelled the goal."""


class EverythingAction:
    """Serve segment_everything, as long as a model is loaded.

    Args:
        node: The node that the action belongs to.
        prompts: Knows whether the tracker is ready, and counts refusals.
    """

    def __init__(self, node: LifecycleNode, prompts: PromptServices) -> None:
        self._node = node
        self._prompts = prompts
        self._predictor: ImagePredictor | None = None
        self._decode: ImageDecoder | None = None
        self._busy = False
        self._server: ActionServer | None = ActionServer(
            node,
            SegmentEverything,
            "~/segment_everything",
            self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
            result_timeout=RESULT_KEPT,
        )

    def configure(self, predictor: ImagePredictor, decode: ImageDecoder) -> None:
        """Take the tracker's model, and what decodes images."""
        self._predictor, self._decode = predictor, decode

    def release(self) -> None:
        """Let go of the model; a search at work ends."""
        self._predictor = self._decode = None

    def destroy(self) -> None:
        """Leave the graph; a second time changes nothing."""
        server, self._server = self._server, None
        if server is not None:
            server.destroy()

    async def _execute(self, handle: ServerGoalHandle) -> SegmentEverything.Result:
        request, began = handle.request, time.monotonic()
        result = SegmentEverything.Result()
        if self._busy:
            text = "another goal is being worked on, and only one is at a time: cancel it, or ask again later"
            result.message = self._prompts.refuse(RefusedError(text))
            request.image = Image()  # a goal is kept as long as its result
            handle.abort()
            return result
        self._busy = True
        try:
            with self._prompts.memory.hold(bytes_of(request)):
                await self._search(handle, result)
        except _CancelledError as error:
            result.masks = []
            result.message = str(error)
            handle.canceled()
        except Exception as error:
            result.masks = []
            result.message = self._prompts.refuse(RefusedError(str(error)) if isinstance(error, MemoryError) else error)
            handle.abort()
        else:
            if result.success:
                handle.succeed()
            else:
                handle.abort()
        finally:
            self._busy = False
            request.image = Image()
        result.duration = time.monotonic() - began
        return result

    async def _search(self, handle: ServerGoalHandle, result: SegmentEverything.Result) -> None:
        """Do what a goal asks for, and fill in its result."""
        predictor, decode = self._predictor, self._decode
        inference = self._prompts.tracking(active=handle.request.action == SegmentEverything.Goal.TRACK)
        if predictor is None or decode is None:
            raise RefusedError("the tracker is being configured; ask again when that is done")
        goal = goal_of(handle.request, POINTS_ON_GPU if predictor.network.device.type == "cuda" else POINTS_ON_CPU)
        if is_given(handle.request.image):
            decode.check(handle.request.image)

        def prepare(session: Session) -> StillImage:
            return still_image(handle.request, predictor, decode, session)

        image = await answer_of(self._node, inference.submit(prepare, Lane.PROMPT))
        result.header = image.header
        if goal.settings.crop_layers and image.pixels is None:
            raise RefusedError(
                "crop_layers needs the image's own pixels, which the tracker keeps only with a detector: send the "
                "image with the goal"
            )
        masks = AutomaticMasks(predictor, settings=goal.settings)
        search = masks.search(image.pixels if goal.settings.crop_layers else None, image.encoded)
        found = await self._steps(handle, inference, search, goal)
        remarks = [image.remark]
        decided: Sequence[Tracked] = [Tracked()] * len(found)
        if goal.tracks:
            found, decided = await self._track(handle, inference, image, found, goal)
            looked_for = sum(one.looked_for for one in decided)
            if looked_for:
                remarks.append(
                    f"the image left the tracker's memory of images during the search, so {looked_for} objects are "
                    "lost until they are found in a coming one"
                )
            problems = dict.fromkeys(one.problem for one in decided if one.problem)
            if problems:
                missing = sum(bool(one.problem) for one in decided)
                text = f"{missing} of {len(found)} masks are not tracked: {'; '.join(problems)}"
                remarks.insert(0, self._prompts.refuse(RefusedError(text)))
        result.masks = await self._messages(handle, inference, found, decided, image)
        result.success = not any(one.problem for one in decided)
        result.message = " ".join(remark for remark in remarks if remark)

    async def _steps(
        self,
        handle: ServerGoalHandle,
        inference: InferenceThread[Any],
        search: Iterator[Progress],
        goal: EverythingGoal,
    ) -> Sequence[FoundMask]:
        """Go through a search batch by batch; each waits for its turn, as a prompt does."""
        while True:
            # The node's own lane is never full, and one command at a time waits in it.
            progress: Progress = await answer_of(self._node, inference.submit(lambda _: next(search), Lane.NODE))
            _tell(handle, progress)
            _check(handle, f"{progress.points_done} of {progress.points_total} points")
            if progress.masks is not None:
                return progress.masks if goal.tracks else progress.masks[: goal.max_masks]

    async def _track(
        self,
        handle: ServerGoalHandle,
        inference: InferenceThread[Any],
        image: StillImage,
        found: Sequence[FoundMask],
        goal: EverythingGoal,
    ) -> tuple[list[FoundMask], list[Tracked]]:
        """Track the best masks, each by a command of its own; return them, and what became of each."""
        assert image.frame is not None  # `goal_of` refuses to track in an image that came with the goal
        frame = image.frame
        kept: list[FoundMask] = []
        decided: list[Tracked] = []
        for item in found[: goal.max_masks]:
            taken = [one.object_id for one in decided]

            def command(session: Session, item: FoundMask = item, taken: list[int] = taken) -> Tracked:
                return track(session, frame, CroppedMask.of(item.rle.decode()), taken)

            one: Tracked = await answer_of(self._node, inference.submit(command, Lane.NODE))
            if one.full and goal.max_masks is None and kept:
                break
            kept.append(item)
            decided.append(one)
            _check(handle, f"{len(kept)} masks were tracked, which are not removed")
        return kept, decided

    async def _messages(
        self,
        handle: ServerGoalHandle,
        inference: InferenceThread[Any],
        found: Sequence[FoundMask],
        decided: Sequence[Tracked],
        image: StillImage,
    ) -> list[ImageMask]:
        """Return masks as messages, which the inference thread makes, some at a time: it has the time between frames.

        Raises:
            RefusedError: They take more than `LARGEST_ANSWER`.
        """
        messages: list[ImageMask] = []
        size = 0
        pairs = list(zip(found, decided, strict=True))
        for start in range(0, len(pairs), MESSAGES_AT_ONCE):
            part = pairs[start : start + MESSAGES_AT_ONCE]

            def make(_: Session, part: Sequence[tuple[FoundMask, Tracked]] = part) -> list[ImageMask]:
                return [_message(item, one, image) for item, one in part]

            messages += await answer_of(self._node, inference.submit(make, Lane.NODE))
            _check(handle, "the search, while its answer was made; what is tracked stays")
            size += sum(len(message.mask.data) for message in messages[start:])
            if size > LARGEST_ANSWER:
                raise RefusedError(f"the masks take more than {LARGEST_ANSWER // 2**20} MiB: set max_masks")
        return messages


def _check(handle: ServerGoalHandle, done: str) -> None:
    """End a goal that is cancelled, and say after what."""
    if handle.is_cancel_requested:
        raise _CancelledError(f"cancelled after {done}")


def _tell(handle: ServerGoalHandle, progress: Progress) -> None:
    """Publish feedback."""
    handle.publish_feedback(
        SegmentEverything.Feedback(
            points_done=progress.points_done, points_total=progress.points_total, masks=progress.masks_found
        )
    )


def _message(found: FoundMask, decided: Tracked, image: StillImage) -> ImageMask:
    return image_mask_message(
        CroppedMask.of(found.rle.decode()),
        image.header,
        predicted_iou=found.predicted_iou,
        stability=found.stability,
        object_id=decided.object_id,
    )
