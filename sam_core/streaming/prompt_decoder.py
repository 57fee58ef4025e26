"""From a prompt on a frame to the network's answer; this part knows no object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_core.streaming.click_views import ClickViews
from sam_core.streaming.clicks import Clicks
from sam_core.streaming.history import Frame
from sam_core.streaming.masks import mask_at
from sam_core.streaming.network import SamOutput, TrackingNetwork

# Earlier logits that go back in as a prompt are clamped, as the official predictor does.
_PROMPT_LOGIT_BOUND = 32.0


class PromptDecoder:
    """Answer masks and clicks.

    Args:
        network: the network.
        views: answers clicks that begin an object from several views of the image; None asks the network once.
        clean: applied to mask logits (B, 1, m, m) of an answer, which are remembered and shown; None leaves them.
    """

    def __init__(
        self,
        network: TrackingNetwork,
        views: ClickViews | None = None,
        clean: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._network = network
        self._views = views
        self._clean = clean

    def from_mask(self, frame: Frame, mask: NDArray[np.bool_]) -> SamOutput:
        """Answer a mask (H, W) of the frame's image."""
        pixels = mask_at(mask, self._network.image_size, self._network.device)
        return self._cleaned(self._network.adopt_mask(frame.features, pixels))

    def from_clicks(self, frame: Frame, clicks: Clicks, embedding: Tensor | None, previous: Tensor | None) -> SamOutput:
        """Answer points and a box.

        Args:
            frame: the frame that was clicked.
            clicks: all that the object was given on it.
            embedding: (1, d, h, w) of the frame, conditioned on the object's memory; None where the object begins.
            previous: (m, m) logits of the mask that the object has on the frame; None without one.
        """
        network, begins = self._network, embedding is None
        points, labels = self._to_network(frame, *clicks.as_points())
        if embedding is None:
            embedding = network.embed_without_memory(frame.features)
        multimask = network.uses_multimask(len(points), begins=begins)
        mask = None
        if previous is not None:
            mask = previous[None, None]
            mask = (mask if self._clean is None else self._clean(mask)).clamp(-_PROMPT_LOGIT_BOUND, _PROMPT_LOGIT_BOUND)
        output = network.decode(embedding, frame.features, points[None], labels[None], mask, multimask=multimask)
        if self._views is not None and begins and previous is None and clicks.box is None:
            output = self._views.refine(frame, points, labels, output)
        return self._cleaned(output)

    def _cleaned(self, output: SamOutput) -> SamOutput:
        return output if self._clean is None else replace(output, low_res=self._clean(output.low_res))

    def _to_network(
        self, frame: Frame, points: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """Bring points (K, 2) in px of the frame's image to the device, in px of the network's input."""
        height, width = frame.size
        device = self._network.device
        scaled = torch.from_numpy(points).to(device) / torch.tensor([width, height], device=device)
        return scaled * self._network.image_size, torch.from_numpy(labels).to(device)
