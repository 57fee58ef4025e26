"""Everything that an operator can ask of a tracker: the one place that says no in a read-only console."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import ParameterDescriptor, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from sam_msgs.msg import ConceptInstance
from sam_msgs.srv import (
    AddPrompt,
    DetectConcept,
    FollowConcept,
    LoadObjects,
    RemoveObject,
    RenameObject,
    SaveObjects,
    SegmentImage,
    UnfollowConcept,
)
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from sam_ros.console.ros.draft import Draft, Example
from sam_ros.console.ros.frames import Frame, crop_of
from sam_ros.console.ros.link import TrackerLink
from sam_ros.conversions.encodings import array_to_image
from sam_ros.runtime.errors import RefusedError

__all__ = ["LONGEST_TEXT", "MOST_PHRASES", "TRANSITIONS", "Commands"]

LONGEST_TEXT = 256  # characters of a label, phrase or name: as many as the tracker takes (`MAX_LABEL`)
MOST_PHRASES = 8
MOST_PARAMETERS = 200
SLOW = 120.0  # s that loading a model or a detection may take
TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}


class Commands:
    """Ask a tracker. Every method raises RefusedError with the reason where the answer is no.

    Args:
        link: The tracker.
        read_only: Refuse everything that changes something.
    """

    def __init__(self, link: TrackerLink, *, read_only: bool) -> None:
        self._link = link
        self._read_only = read_only

    async def _ask(self, service: str, request: Any, timeout: float = 15.0) -> Any:
        if self._read_only:
            raise RefusedError("This console is read-only.")
        response = await self._link.call(service, request, timeout)
        if not response.success:
            raise RefusedError(getattr(response, "message", "") or f"The tracker refused ~/{service}.")
        return response

    # --- Prompts ------------------------------------------------------------------------------------------------------

    async def add_prompt(self, draft: Draft, *, or_newest: bool = False) -> Any:
        """Track a new object, or correct one, from the very frame on which the prompt was given."""
        if not draft.steps:
            raise RefusedError("There is nothing to track yet: click, draw a box or brush a mask.")
        request = AddPrompt.Request(
            stamp=draft.frame.header.stamp,
            or_newest=or_newest,
            object_id=draft.object_id,
            label=_text(draft.label),
            points=draft.points,
            box=draft.box,
            mask=draft.mask_message(),
        )
        return await self._ask("add_prompt", request)

    async def preview(self, draft: Draft) -> Any:
        """Return the mask that a prompt would begin with (ImageMask)."""
        stamp = draft.frame.header.stamp
        request = SegmentImage.Request(stamp=stamp, or_newest=True, prompts=[draft.image_prompt()])
        answer = await self._ask("segment_image", request)
        if answer.header.stamp != stamp:  # the tracker does not have the image any more: it takes ours
            request.image = _raw(draft.frame)
            answer = await self._ask("segment_image", request)
        if not answer.masks:
            raise RefusedError("The tracker sent no preview.")
        return answer.masks[0]

    # --- Objects ------------------------------------------------------------------------------------------------------

    async def remove(self, object_id: int) -> None:
        """Stop tracking an object."""
        await self._ask("remove_object", RemoveObject.Request(object_id=object_id))

    async def rename(self, object_id: int, label: str) -> None:
        """Give an object another label."""
        await self._ask("rename_object", RenameObject.Request(object_id=object_id, label=_text(label)))

    async def save(self, object_ids: Sequence[int], name: str, *, overwrite: bool) -> list[str]:
        """Save objects as files of the tracker's computer; return their names."""
        request = SaveObjects.Request(object_ids=list(object_ids), name=_text(name), overwrite=overwrite)
        return list((await self._ask("save_objects", request)).files)

    async def load(self, files: Sequence[str]) -> list[int]:
        """Track what was saved, all of it where no files are named; return the identities."""
        request = LoadObjects.Request(files=[_text(name) for name in files])
        return list((await self._ask("load_objects", request)).object_ids)

    async def reset(self) -> None:
        """Forget all objects."""
        await self._ask("reset", Trigger.Request())

    # --- Words --------------------------------------------------------------------------------------------------------

    async def detect(
        self,
        frame: Frame | None,
        phrases: Sequence[str],
        examples: Sequence[Example],
        score: float,
        *,
        or_newest: bool = False,
    ) -> Any:
        """Search a frame for what phrases name and examples show; None: the tracker's newest image."""
        words = [_text(phrase) for phrase in phrases if phrase.strip()]
        if len(words) > MOST_PHRASES:
            raise RefusedError(f"At most {MOST_PHRASES} phrases at once.")
        if not words and not examples:
            raise RefusedError("Say what to look for, or draw a box around an example.")
        request = DetectConcept.Request(phrases=words, exemplars=[example.message() for example in examples])
        request.score_threshold, request.or_newest = score, or_newest
        if frame is not None:
            request.stamp = frame.header.stamp
        return await self._ask("detect_concept", request, SLOW)

    async def accept(self, instance: ConceptInstance, frame: Frame) -> int:
        """Track an instance that a detection found, from the frame in which it was found."""
        height, width = frame.rgb().shape[:2]
        mask = full_mask(instance, width, height)
        request = AddPrompt.Request(stamp=frame.header.stamp, label=_text(instance.phrase), mask=mask)
        return int((await self._ask("add_prompt", request)).object_id)

    async def follow(self, phrase: str, score: float, period: float) -> str:
        """Look for a concept again and again; return the tracker's remark."""
        if not phrase.strip():
            raise RefusedError("Say what to follow.")
        request = FollowConcept.Request(phrase=_text(phrase), score_threshold=score, new_score=score, period=period)
        return str((await self._ask("follow_concept", request, SLOW)).message)

    async def unfollow(self, phrase: str) -> None:
        """Stop looking for a concept, named as the tracker reports it."""
        await self._ask("unfollow_concept", UnfollowConcept.Request(phrase=phrase))

    async def load_detector(self) -> None:
        """Load the detector."""
        await self._ask("load_detector", Trigger.Request(), SLOW)

    # --- The node -----------------------------------------------------------------------------------------------------

    async def pause(self, on: bool) -> None:
        """Let images pass untracked, or resume."""
        await self._ask("set_paused", SetBool.Request(data=on))

    async def change_state(self, transition: str) -> None:
        """Lead the tracker's lifecycle by a transition of `TRANSITIONS`."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        try:
            await self._ask("change_state", request, SLOW)
        except RefusedError as error:
            raise RefusedError(f"Cannot {transition}: {error}") from None

    async def parameters(self) -> list[tuple[str, ParameterDescriptor, ParameterValue]]:
        """Return names, descriptors and values of the tracker's parameters; a read-only console may ask, too."""
        names = sorted((await self._link.call("list_parameters", ListParameters.Request())).result.names)
        names = [name for name in names if "." not in name][:MOST_PARAMETERS]
        described = await self._link.call("describe_parameters", DescribeParameters.Request(names=names))
        values = await self._link.call("get_parameters", GetParameters.Request(names=names))
        return list(zip(names, described.descriptors, values.values, strict=False))

    async def set_parameter(self, parameter: Any) -> str:
        """Set a parameter (rcl_interfaces Parameter) while the tracker runs; return its name."""
        if self._read_only:
            raise RefusedError("This console is read-only.")
        answer = await self._link.call("set_parameters", SetParameters.Request(parameters=[parameter]))
        if not answer.results or not answer.results[0].successful:
            reason = answer.results[0].reason if answer.results else "no answer"
            raise RefusedError(f"{parameter.name} was not changed: {reason}")
        return str(parameter.name)


def full_mask(instance: ConceptInstance, width: int, height: int) -> Image:
    """Return a detected instance's mask in an image of `width` x `height` px.

    Raises:
        RefusedError: It has none, or is not of such an image.
    """
    box, crop = instance.box, crop_of(instance.mask)
    if crop.size == 0:
        raise RefusedError("This instance has no mask.")
    mask = np.zeros((height, width), np.uint8)
    part = mask[box.y_offset : box.y_offset + box.height, box.x_offset : box.x_offset + box.width]
    if part.shape != crop.shape:
        raise RefusedError("The mask of this instance belongs to an image of another size.")
    part[:] = crop
    return array_to_image(mask, "mono8", Header())


def _raw(frame: Frame) -> Image:
    """Return a frame's image as a raw message, decoded where it came compressed."""
    image = frame.image
    return image if isinstance(image, Image) else array_to_image(frame.rgb(), "rgb8", frame.header)


def _text(text: str) -> str:
    """Cut a text to what a label may be long, without control characters."""
    return "".join(sign for sign in str(text)[:LONGEST_TEXT] if sign.isprintable()).strip()
