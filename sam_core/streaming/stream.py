"""One camera's stream: frames in, masks out, for as long as it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam_core.errors import CapacityError, ImageError, NoFrameError, PromptError, UnknownObjectError
from sam_core.sam2 import ImageFeatures, Sam2, SamOutput
from sam_core.sam2.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT
from sam_core.streaming.bank import MemoryBank
from sam_core.streaming.policy import Observation
from sam_core.streaming.prompt import CheckedPrompt, Prompt, check_prompt
from sam_core.streaming.result import FrameResult, ObjectInfo, ObjectState, StreamReport, measure_masks
from sam_core.streaming.settings import StreamSettings

# Earlier logits that go back in as a prompt are clamped, as the official predictor does.
_PROMPT_LOGIT_BOUND = 32.0


@dataclass(frozen=True)
class _Frame:
    """A frame that was seen."""

    number: int
    stamp: Any
    size: tuple[int, int]
    features: ImageFeatures


@dataclass
class _Object:
    """A tracked object; `row` is its place in the bank, and changes hands once the object is removed."""

    object_id: int
    label: str
    first_frame: int
    row: int
    last_seen: Observation
    clicks: _Clicks = field(default_factory=lambda: _Clicks(frame=-1))


@dataclass
class _Clicks:
    """Points and box that an object was given on one frame; a new click there is combined with them."""

    frame: int
    points: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    box: NDArray[np.float32] | None = None

    def combined_with(self, prompt: CheckedPrompt, frame: int) -> _Clicks:
        before = self if self.frame == frame else _Clicks(frame)
        return _Clicks(
            frame,
            np.concatenate((before.points, prompt.points)),
            np.concatenate((before.labels, prompt.labels)),
            before.box if prompt.box is None else prompt.box,
        )

    def as_points(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return all as labelled points; a box's corners stand first (SAM 2's order in training)."""
        if self.box is None:
            return self.points, self.labels
        corners = np.array([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT])
        return np.concatenate((self.box.reshape(2, 2), self.points)), np.concatenate((corners, self.labels))


class Stream:
    """Tracks prompted objects through a camera's frames. Not thread-safe: one thread owns a stream.

    All memory is taken when the stream opens; nothing grows with the number of frames. An exception in any method
    leaves the stream as it was.

    A live stream differs from the official offline predictor in what it cannot know:

    - the number of frames: object pointers always reach `max_object_pointers` (16) frames back, and their age is
      measured in that unit. Offline, a video of fewer frames uses its own length, and so gives other numbers.
    - the future: a prompt belongs to the newest frame, and no frame is tracked again.

    Args:
        model: SAM 2 in evaluation mode; shared with other streams.
        settings: bounds and choices.
    """

    def __init__(self, model: Sam2, settings: StreamSettings) -> None:
        self._model = model
        self._settings = settings
        self.mask_threshold = settings.mask_threshold
        self._objects: dict[int, _Object] = {}
        self._next_id = 1
        self._newest: _Frame | None = None
        with torch.inference_mode():
            self._bank = MemoryBank(model, settings)
            side = model.mask_size
            self._low_res = torch.zeros(settings.max_objects, 1, side, side, device=model.device)

    # --- frames ------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def step(self, image: NDArray[np.uint8] | Tensor, stamp: Any = None) -> FrameResult:
        """Track all objects on the next frame.

        Args:
            image: (H, W, 3) uint8 RGB, any size; an array of any strides or a tensor on any device.
            stamp: anything; it comes back in the result.

        Returns:
            The objects on this frame, in the order of their ids.

        Raises:
            ImageError: not such an image.
        """
        pixels = _as_tensor(image).to(self._model.device)
        features = self._model.encode_image(self._model.normalise(pixels[None]))
        number = 0 if self._newest is None else self._newest.number + 1
        frame = _Frame(number, stamp, (pixels.shape[0], pixels.shape[1]), features)
        objects = list(self._objects.values())
        if not objects:
            self._newest = frame
            return self._empty_result(frame)
        output = self._track(objects, frame)
        memory = self._model.encode_memory(features, output.low_res, output.object_score, from_prompt=False)
        seen = _observe(frame, output, prompted=False)
        result = self._result(objects, frame, output, seen)
        self._newest = frame
        self._remember(objects, output, memory, seen, conditioning=False)
        return result

    # --- objects -----------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def add_prompt(self, prompt: Prompt, object_id: int | None = None, label: str = "") -> FrameResult:
        """Begin to track an object, or correct one, on the newest frame.

        A correction is combined with what the object already has on this frame: its mask, and the points given here
        before. A mask replaces both.

        Args:
            prompt: points and a box, or a mask.
            object_id: the object to correct; None for a new one.
            label: what to call it; empty keeps what it was called.

        Returns:
            That one object on the newest frame.

        Raises:
            NoFrameError: no frame was seen yet.
            UnknownObjectError: no such object.
            PromptError: the prompt makes no sense on the newest frame.
            CapacityError: a new object, but all `max_objects` places are taken.
        """
        frame = self._newest
        if frame is None:
            raise NoFrameError("There is no frame yet to apply a prompt to.")
        if prompt.stamp is not None and prompt.stamp != frame.stamp:
            raise PromptError(f"The prompt is for stamp {prompt.stamp}, but the newest frame has stamp {frame.stamp}.")
        checked = check_prompt(prompt, *frame.size)
        target = self._new_object(frame, label) if object_id is None else self._find(object_id)
        try:
            clicks = (
                _Clicks(frame.number)
                if checked.mask is not None
                else target.clicks.combined_with(checked, frame.number)
            )
            begins = target.first_frame == frame.number
            if checked.mask is not None:
                output = self._model.adopt_mask(frame.features, self._mask_input(checked.mask))
            else:
                output = self._answer_clicks(target, clicks, frame, with_memory=not begins)
            memory = self._model.encode_memory(frame.features, output.low_res, output.object_score, from_prompt=True)
            seen = _observe(frame, output, prompted=True)
            result = self._result([target], frame, output, seen, label=label or target.label)
        except BaseException:
            if object_id is None:
                self._bank.free(target.row)
            raise
        target.clicks, target.label = clicks, label or target.label
        if object_id is None:
            self._objects[target.object_id] = target
            self._next_id += 1
        conditioning = begins or self._settings.corrections_are_conditioning
        self._remember([target], output, memory, seen, conditioning=conditioning)
        return result

    def remove(self, object_id: int) -> None:
        """Forget an object; its id is never used again.

        Raises:
            UnknownObjectError: no such object.
        """
        self._bank.free(self._find(object_id).row)
        del self._objects[object_id]

    def reset(self) -> None:
        """Forget all objects; ids and frame numbers go on."""
        for object_id in tuple(self._objects):
            self.remove(object_id)

    @property
    def objects(self) -> tuple[ObjectInfo, ...]:
        """The objects that are tracked, in the order of their ids."""
        return tuple(
            ObjectInfo(
                object_id=o.object_id,
                label=o.label,
                first_frame=o.first_frame,
                state=_state(o.last_seen),
                predicted_iou=o.last_seen.predicted_iou,
                presence=_sigmoid(o.last_seen.object_score),
            )
            for o in self._objects.values()
        )

    @property
    def max_objects(self) -> int:
        """Capacity."""
        return self._settings.max_objects

    @property
    def newest_stamp(self) -> Any:
        """Stamp of the newest frame; None before the first."""
        return None if self._newest is None else self._newest.stamp

    def report(self) -> StreamReport:
        """Say how full the stream is."""
        return StreamReport(
            frames=0 if self._newest is None else self._newest.number + 1,
            objects=len(self._objects),
            max_objects=self.max_objects,
            spatial_slots_used=self._bank.slots_used,
            spatial_slots=self._bank.slots,
            bytes_allocated=self._bank.nbytes + self._low_res.nbytes,
        )

    # --- one frame, some objects -------------------------------------------------------------------------------

    def _track(self, objects: Sequence[_Object], frame: _Frame) -> SamOutput:
        """Track objects without a prompt: memory attention per group of equally filled rows, the rest as one batch."""
        rows = [o.row for o in objects]
        groups = self._bank.group(rows, frame.number)
        embeddings = [
            self._model.embed_with_memory(frame.features, self._bank.read([rows[i] for i in group], frame.number))
            for group in groups
        ]
        embedding = embeddings[0]
        if len(groups) > 1:
            order = torch.tensor([i for group in groups for i in group], device=embedding.device)
            embedding = torch.cat(embeddings)[order.argsort()]
        return self._model.decode(embedding, frame.features, multimask=self._model.uses_multimask(0))

    def _answer_clicks(self, target: _Object, clicks: _Clicks, frame: _Frame, with_memory: bool) -> SamOutput:
        points, labels = clicks.as_points()
        if with_memory:
            embedding = self._model.embed_with_memory(frame.features, self._bank.read([target.row], frame.number))
        else:
            embedding = self._model.embed_without_memory(frame.features)
        has_mask = target.object_id in self._objects  # a new object has nothing on this frame yet
        previous = (
            self._low_res[target.row][None].clamp(-_PROMPT_LOGIT_BOUND, _PROMPT_LOGIT_BOUND) if has_mask else None
        )
        height, width = frame.size
        device = self._model.device
        scaled = torch.from_numpy(points).to(device) / torch.tensor([width, height], device=device)
        return self._model.decode(
            embedding,
            frame.features,
            (scaled * self._model.image_size)[None],
            torch.from_numpy(labels).to(device)[None],
            previous,
            multimask=self._model.uses_multimask(len(points)),
        )

    def _mask_input(self, mask: NDArray[np.bool_]) -> Tensor:
        size = (self._model.image_size, self._model.image_size)
        pixels = torch.from_numpy(mask).to(self._model.device).float()[None, None]
        if pixels.shape[-2:] == size:
            return pixels
        resized = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
        return (resized >= 0.5).float()

    def _remember(
        self,
        objects: Sequence[_Object],
        output: SamOutput,
        memory: Tensor,
        seen: Sequence[Observation],
        *,
        conditioning: bool,
    ) -> None:
        rows = [o.row for o in objects]
        self._bank.write(rows, memory, output.pointer, seen, conditioning=conditioning)
        self._low_res[torch.tensor(rows, device=memory.device)] = output.low_res
        for target, observation in zip(objects, seen, strict=True):
            target.last_seen = observation

    # --- results -----------------------------------------------------------------------------------------------

    def _result(
        self,
        objects: Sequence[_Object],
        frame: _Frame,
        output: SamOutput,
        seen: Sequence[Observation],
        label: str | None = None,
    ) -> FrameResult:
        logits = F.interpolate(output.low_res, size=frame.size, mode="bilinear", align_corners=False)[:, 0]
        masks = logits > self.mask_threshold
        boxes, areas, centroids = measure_masks(masks)
        return FrameResult(
            frame=frame.number,
            stamp=frame.stamp,
            image_size=frame.size,
            object_ids=tuple(o.object_id for o in objects),
            labels=tuple(o.label if label is None else label for o in objects),
            states=tuple(_state(observation) for observation in seen),
            mask_logits=logits,
            masks=masks,
            boxes=boxes,
            areas=areas,
            centroids=centroids,
            predicted_iou=output.best_iou.float(),
            presence=output.object_score[:, 0].float().sigmoid(),
        )

    def _empty_result(self, frame: _Frame) -> FrameResult:
        logits = torch.zeros(0, *frame.size, device=self._model.device)
        none = logits.new_zeros(0)
        count = none.long()
        return FrameResult(
            frame.number, frame.stamp, frame.size, (), (), (), logits, logits > 0, count.reshape(0, 4), count,
            none.reshape(0, 2), none, none,
        )  # fmt: skip

    def _find(self, object_id: int) -> _Object:
        try:
            return self._objects[object_id]
        except KeyError:
            known = ", ".join(map(str, self._objects)) or "none"
            raise UnknownObjectError(f"There is no object {object_id}; tracked are: {known}.") from None

    def _new_object(self, frame: _Frame, label: str) -> _Object:
        row = self._bank.allocate()
        if row is None:
            raise CapacityError(
                f"All {self.max_objects} places are taken: remove an object, or open the stream with more."
            )
        nothing_yet = Observation(frame.number, predicted_iou=0.0, object_score=0.0, prompted=True)
        return _Object(self._next_id, label, frame.number, row, nothing_yet)


def _observe(frame: _Frame, output: SamOutput, prompted: bool) -> list[Observation]:
    """Fetch the scores of a frame's objects; the one place where a step waits for the device."""
    ious, scores = torch.stack((output.best_iou.float(), output.object_score[:, 0].float())).tolist()
    return [Observation(frame.number, iou, score, prompted) for iou, score in zip(ious, scores, strict=True)]


def _state(seen: Observation) -> ObjectState:
    return ObjectState.TRACKED if seen.object_score > 0 else ObjectState.ABSENT


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-max(logit, -700.0)))


def _as_tensor(image: NDArray[np.uint8] | Tensor) -> Tensor:
    """View an image as a (H, W, 3) uint8 tensor, copying only where the array's memory cannot be shared."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise ImageError(f"An image must be uint8, not {image.dtype}.")
        image = np.ascontiguousarray(image)
        image = torch.from_numpy(image if image.flags.writeable else image.copy())
    if image.dtype != torch.uint8:
        raise ImageError(f"An image must be uint8, not {image.dtype}.")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"An image must be (height, width, 3) RGB, not {tuple(image.shape)}.")
    if image.numel() == 0:
        raise ImageError(f"The image is empty: {image.shape[1]}×{image.shape[0]} px.")
    return image.contiguous()
