"""What the network answers to prompts on a frame.

Clicks tell objects apart: a click on one object is a click beside every other one. A mask that answers a click
sometimes takes a neighbour along. Where that neighbour was clicked on, too, on the same frame, its click is added as a
negative one, as a user would correct the mask (positive and negative clicks: Xu et al., "Deep Interactive Object
Selection", 2016). This goes with `overlaps: look`; where overlaps are kept, an object may be part of another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam_core.sam2 import ImageFeatures, Sam2, SamOutput
from sam_core.streaming.frames import Frame
from sam_core.streaming.objects import Clicks
from sam_core.streaming.settings import StreamSettings
from sam_core.streaming.views import answer_from_views


class Answers:
    """A network that is asked with masks and clicks; it knows no object.

    Args:
        model: the network.
        encode: makes features of a picture (3, S, S).
        settings: of the stream; `clicks`, `overlaps` and `mask_threshold` matter here.
    """

    def __init__(self, model: Sam2, encode: Callable[[Tensor], ImageFeatures], settings: StreamSettings) -> None:
        self._model = model
        self._encode = encode
        self._from_views = settings.clicks == "views"
        self._apart = settings.overlaps == "look"
        self._threshold = settings.mask_threshold

    def to_mask(self, frame: Frame, mask: NDArray[np.bool_]) -> SamOutput:
        """Answer a mask (H, W) of the frame's image."""
        size = (self._model.image_size, self._model.image_size)
        pixels = torch.from_numpy(mask).to(self._model.device).float()[None, None]
        if pixels.shape[-2:] != size:
            pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
            pixels = (pixels >= 0.5).float()
        return self._model.adopt_mask(frame.features, pixels)

    def to_clicks(
        self, frame: Frame, clicks: Clicks, embedding: Tensor, previous: Tensor | None, *, begins: bool
    ) -> SamOutput:
        """Answer clicks, given what is known of their object already.

        Args:
            frame: what was clicked on.
            clicks: points and box.
            embedding: (1, d, h, w) of the frame, with or without the object's memory.
            previous: (1, 1, 4 h, 4 w) logits of the object's mask on the frame, if it has one.
            begins: whether the object has no memory.
        """
        points, labels = self._in_picture(frame, *clicks.as_points())
        multimask = self._model.uses_multimask(len(points), begins=begins)
        return self._model.decode(embedding, frame.features, points[None], labels[None], previous, multimask=multimask)

    def to_first_clicks(self, frame: Frame, clicks: Clicks, others: Sequence[Clicks]) -> SamOutput:
        """Answer the clicks that begin an object; `others` are those on other objects of that frame."""
        if clicks.box is not None:
            embedding = self._model.embed_without_memory(frame.features)
            return self.to_clicks(frame, clicks, embedding, None, begins=True)
        output = self._ask(frame, *self._in_picture(frame, *clicks.as_points()))
        return self.without_others(frame, clicks, output.low_res, others) or output

    def without_others(
        self, frame: Frame, clicks: Clicks, low_res: Tensor, others: Sequence[Clicks]
    ) -> SamOutput | None:
        """Answer clicks that began an object again if its mask covers what was clicked on as other objects.

        Args:
            frame: what was clicked on.
            clicks: points, no box.
            low_res: (1, 1, 4 h, 4 w) logits of the mask that these gave.
            others: clicks on other objects of that frame.

        Returns:
            A mask that covers what it should, and not what it should not; None if there is nothing to change, or if the
            network has no such mask.
        """
        rivals = [other.points[other.labels == 1] for other in others]
        if not self._apart or not sum(map(len, rivals)):
            return None
        points, labels = self._in_picture(frame, *clicks.as_points())
        beside, _ = self._in_picture(frame, np.concatenate(rivals), np.zeros(0, np.int64))
        beside = beside[self._covers(low_res, beside)]
        if not len(beside):
            return None
        points, labels = torch.cat((points, beside)), torch.cat((labels, labels.new_zeros(len(beside))))
        output = self._ask(frame, points, labels)
        return output if torch.equal(self._covers(output.low_res, points), labels == 1) else None

    def _ask(self, frame: Frame, points: Tensor, labels: Tensor) -> SamOutput:
        """Answer points (K, 2) in px of the network's picture, of labels (K,)."""
        embedding = self._model.embed_without_memory(frame.features)
        multimask = self._model.uses_multimask(len(points), begins=True)
        output = self._model.decode(embedding, frame.features, points[None], labels[None], multimask=multimask)
        if not self._from_views:
            return output
        return answer_from_views(self._model, self._encode, frame, points, labels, output)

    def _in_picture(
        self, frame: Frame, points: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """Bring points (K, 2) in px of the frame's image to the device, in px of the network's picture."""
        height, width = frame.size
        device = self._model.device
        scaled = torch.from_numpy(points).to(device) / torch.tensor([width, height], device=device)
        return scaled * self._model.image_size, torch.from_numpy(labels).to(device)

    def _covers(self, low_res: Tensor, points: Tensor) -> Tensor:
        """Tell which points (K, 2) in px of the network's picture a mask (1, 1, h, w) of it covers: (K,) bool."""
        size = low_res.shape[-1]
        x, y = (points * (size / self._model.image_size)).long().clamp(0, size - 1).unbind(1)
        return low_res[0, 0, y, x] > self._threshold
