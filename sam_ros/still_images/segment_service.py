"""The service that segments one still image by prompts, while images keep being tracked.

A request's way: service (executor thread) -> inference thread (encode the image; answer a part of the prompts, as often
as needed; frames are tracked in between) -> answer. The stream is only read.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from sam_msgs.msg import ImageMask
from sam_msgs.srv import SegmentImage

from sam_core import ImagePredictor, Prompt, PromptError
from sam_core.streaming import CroppedMask
from sam_ros.conversions.decoder import ImageDecoder
from sam_ros.conversions.image_masks import image_mask_message
from sam_ros.conversions.prompts import prompt_of
from sam_ros.runtime.errors import RefusedError
from sam_ros.runtime.qos import SERVICE_QOS
from sam_ros.runtime.waiting import answer_of
from sam_ros.still_images.source import StillImage, is_given, still_image
from sam_ros.tracking.prompt_services import PromptServices
from sam_ros.tracking.request_memory import HeldMemory, bytes_of
from sam_ros.tracking.session import Session
from sam_ros.tracking.work_queue import Lane

__all__ = ["LARGEST_ANSWER", "SegmentService"]

MAX_PROMPTS = 64  # of a request: its time and its answer grow with them
LARGEST_ANSWER = 256 * 2**20  # bytes of the masks of one answer, cropped
_LARGEST_PART = 256 * 2**20  # bytes of the masks at the image's size that exist at once
_CANDIDATES = 3


class SegmentService:
    """Serve segment_image, as long as a model is loaded.

    Args:
        node: The node that the service belongs to.
        prompts: Knows whether the tracker is ready, and counts refusals.
    """

    def __init__(self, node: LifecycleNode, prompts: PromptServices) -> None:
        self._node = node
        self._prompts = prompts
        self._predictor: ImagePredictor | None = None
        self._decode: ImageDecoder | None = None
        # Reentrant: an awaiting service must keep neither images nor other services waiting.
        group = ReentrantCallbackGroup()
        node.create_service(
            SegmentImage, "~/segment_image", self._on_segment, qos_profile=SERVICE_QOS, callback_group=group
        )

    def configure(self, predictor: ImagePredictor, decode: ImageDecoder) -> None:
        """Take the tracker's model, and what decodes images."""
        self._predictor, self._decode = predictor, decode

    def release(self) -> None:
        """Let go of the model."""
        self._predictor = self._decode = None

    async def _on_segment(
        self, request: SegmentImage.Request, response: SegmentImage.Response
    ) -> SegmentImage.Response:
        try:
            with self._prompts.memory.hold(bytes_of(request)) as held:
                image, response.masks, remarks, response.duration = await self._segment(request, held)
        except Exception as error:
            response.message = self._prompts.refuse(error)
            return response
        response.header = image.header
        response.success = True
        response.message = " ".join(remark for remark in remarks if remark)
        return response

    async def _segment(
        self, request: SegmentImage.Request, held: HeldMemory
    ) -> tuple[StillImage, list[ImageMask], list[str], float]:
        """Return the image, the masks, remarks, and how long it took in s."""
        prompts = _prompts_of(request)
        inference = self._prompts.tracking(active=False)
        predictor, decode = self._predictor, self._decode
        if predictor is None or decode is None:
            raise RefusedError("the tracker is being configured; ask again when that is done")
        if is_given(request.image):
            decode.check(request.image)

        def prepare(session: Session) -> tuple[StillImage, float]:
            began = time.perf_counter()
            image = replace(still_image(request, predictor, decode, session), pixels=None)  # no prompt needs them
            return image, time.perf_counter() - began

        image, seconds = await answer_of(self._node, inference.submit(prepare, Lane.PROMPT))
        if image.frame is None:  # the features of a processed image are the stream's
            held.add(image.encoded.features.nbytes)
        masks: list[ImageMask] = []
        remarks = [image.remark]
        height, width = image.encoded.size
        count = max(1, _LARGEST_PART // (_CANDIDATES * height * width))
        size = 0
        for start in range(0, len(prompts), count):

            def answer(_: Session, start: int = start) -> tuple[list[ImageMask], tuple[str, ...], float]:
                began = time.perf_counter()
                found, said = _answer(predictor, image, prompts[start : start + count], start, request.multimask)
                return found, said, time.perf_counter() - began

            found, said, took = await answer_of(self._node, inference.submit(answer, Lane.PROMPT))
            masks += found
            remarks += said
            seconds += took
            new = sum(len(item.mask.data) for item in found)
            held.add(new)
            size += new
            if size > LARGEST_ANSWER:
                raise RefusedError(
                    f"the masks take more than {LARGEST_ANSWER // 2**20} MiB: give fewer prompts, or a smaller image"
                )
        return image, masks, remarks, seconds


def _prompts_of(request: SegmentImage.Request) -> list[Prompt]:
    """Read the prompts of a request.

    Raises:
        PromptError, ImageError: There are none or too many, or one cannot be read.
    """
    if not 1 <= len(request.prompts) <= MAX_PROMPTS:
        raise PromptError(f"give 1 to {MAX_PROMPTS} prompts, not {len(request.prompts)}")
    return [prompt_of(prompt) for prompt in request.prompts]


def _answer(
    predictor: ImagePredictor, image: StillImage, prompts: Sequence[Prompt], first: int, multimask: bool
) -> tuple[list[ImageMask], tuple[str, ...]]:
    """Answer some prompts (inference thread), the first of which has number `first`; of each the best mask first."""
    answer = predictor.answer(prompts, multimask=multimask or None, image=image.encoded)
    order = answer.predicted_iou.argsort(dim=1, descending=True, stable=True).tolist()
    scores, stability = answer.predicted_iou.tolist(), answer.stability.tolist()
    messages = []
    for row, ranked in enumerate(order):
        dense: Any = answer.masks[row].cpu().numpy()
        for column in ranked:
            messages.append(
                image_mask_message(
                    CroppedMask.of(np.asarray(dense[column])),
                    image.header,
                    predicted_iou=scores[row][column],
                    stability=stability[row][column],
                    prompt=first + row,
                )
            )
    return messages, answer.remarks
