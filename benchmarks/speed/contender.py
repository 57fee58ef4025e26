"""Contenders: implementations of SAM 2 that take a camera's frames one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.speed.work import Work
from sam_core import Prompt
from sam_core.backends.cpu import optimise_for_cpu
from sam_core.devices import resolve_dtype
from sam_core.streaming import Stream, StridedPolicy, Tracker

__all__ = ["CONTENDERS", "Contender", "Ours", "make_contender"]


class Contender(Protocol):
    """One implementation with weights, on its device.

    Attributes:
        name: What the tables call it.
        parts: The networks by the names of the breakdown: encoder, memory attention, decoder, memory encoder.
        period: Frames after which its work repeats: 1, or the stride of its memory.
    """

    name: str
    period: int
    parts: Mapping[str, nn.Module]

    def begin(self, frame: NDArray[np.uint8], boxes: Sequence[NDArray[np.float32]], *, in_parts: bool = False) -> None:
        """Open a stream.

        Args:
            frame: The first frame, (H, W, 3).
            boxes: One for each object (xyxy px), which begins in it.
            in_parts: Call the networks one by one, so that hooks see them, instead of as one CUDA graph.
        """

    def step(self, frame: NDArray[np.uint8]) -> Tensor:
        """Track all objects into the next frame; returns masks (N, H, W) bool on the device."""

    def end(self) -> None:
        """Let go of the stream."""


class Ours:
    """`sam_core`.

    Args:
        work: Model and weights.
        device: Where to run.
        dtype: Of the networks.
        name: What the tables call it.
        choices: Memory policy and postprocessing, arguments of `Tracker`; without, those of SAM 2 as published.
    """

    def __init__(
        self,
        work: Work,
        device: torch.device,
        dtype: torch.dtype,
        name: str,
        choices: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        choices = choices or {}
        self.period = StridedPolicy().stride if choices.get("memory_policy") == "strided" else 1
        model = work.build().to(device=device, dtype=dtype)
        if device.type == "cpu":
            optimise_for_cpu(model)
        self.network = model
        self._tracker = Tracker(model, work.model, None, **choices)
        self._stream: Stream | None = None
        self.parts: Mapping[str, nn.Module] = {
            "encoder": model.image_encoder,
            "memory attention": model.memory_attention,
            "decoder": model.sam_mask_decoder,
            "memory encoder": model.memory_encoder,
        }

    def begin(self, frame: NDArray[np.uint8], boxes: Sequence[NDArray[np.float32]], *, in_parts: bool = False) -> None:
        """Open a stream, prompt each object; in parts without CUDA graphs."""
        self._stream = self._tracker.open_stream(max_objects=len(boxes), cuda_graphs=not in_parts)
        self._stream.step(frame)
        for box in boxes:
            self._stream.add_prompt(Prompt(box=box))

    def step(self, frame: NDArray[np.uint8]) -> Tensor:
        """Track all objects."""
        assert self._stream is not None
        return self._stream.step(frame).masks

    def end(self) -> None:
        """Let go of the stream."""
        self._stream = None


CONTENDERS = ("ours", "ours-bf16", "ours-own", "sam2", "sam2-vos", "transformers")


def make_contender(kind: str, work: Work, device: torch.device) -> Contender:
    """Build a contender.

    On a GPU all run in bfloat16, each in its authors' way (ours and `transformers`: weights in bfloat16; `sam2`:
    autocast); on a CPU all run in float32, but for ``ours-bf16``. ``ours-own`` is ours as a user gets it: in the dtype
    that suits the device, with the memory policy and the postprocessing that the model's configuration names.

    Raises:
        MissingPeerError: its package is not installed, or it cannot run here.
    """
    half = device.type == "cuda" or kind == "ours-bf16"
    dtype = torch.bfloat16 if half else torch.float32
    if kind in ("ours", "ours-bf16"):
        return Ours(work, device, dtype, "ours, bfloat16" if half else "ours, float32")
    if kind == "ours-own":
        own, choices = resolve_dtype(None, device), work.choices
        name = f"ours as it comes: {str(own).removeprefix('torch.')}, {choices.get('memory_policy', 'fifo')}"
        return Ours(work, device, own, name, choices)
    if kind in ("sam2", "sam2-vos"):
        from benchmarks.speed.official import Official

        return Official(work, device, dtype, compiled=kind == "sam2-vos")
    if kind == "transformers":
        from benchmarks.speed.hugging_face import HuggingFace

        return HuggingFace(work, device, dtype)
    raise ValueError(f"There is no contender {kind!r}; known are {', '.join(CONTENDERS)}.")
