"""CUDA graphs: the kernels of a frame, recorded once and replayed.

A frame takes more than a thousand kernels, most of them shorter than their launch. They are recorded when the stream
opens, for the steady state alone, in which memories are full: one graph of the image encoder, and one of everything
that follows for 1, 2, 4, 8 … objects; a number between is filled up with copies of the last object. Nothing is ever
recorded while tracking: frames on which a bank is still filling run kernel by kernel, as everything does on a CPU.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sam_core.streaming.memory import MemoryBank, MemoryBatches, MemoryIndices
from sam_core.streaming.network import ImageFeatures, TrackingNetwork
from sam_core.streaming.tracking import Examiner, Tracked, track

_log = logging.getLogger(__name__)
_WARM_UP_CALLS = 3

_Function = Callable[..., tuple[Tensor, ...]]
_Shapes = tuple[torch.Size, ...]


class Recording:
    """One CUDA graph of a function, for inputs of given shapes.

    Args:
        function: of tensors; it must not wait for the device, nor create tensors from values on the host.
        inputs: examples, on the device.
        pool: memory that recordings share, as they are never replayed at once.
    """

    def __init__(self, function: _Function, inputs: tuple[Tensor, ...], pool: Any = None) -> None:
        self._inputs = tuple(x.clone(memory_format=torch.preserve_format) for x in inputs)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(inputs[0].device):
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):  # constants are computed and kernels chosen before recording begins
                for _ in range(_WARM_UP_CALLS):
                    function(*self._inputs)
            torch.cuda.current_stream().wait_stream(aside)
            # Other threads, such as a detector's, may use the GPU meanwhile.
            with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
                self._outputs = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Replay; the results are the caller's to keep."""
        for kept, new in zip(self._inputs, inputs, strict=True):
            kept.copy_(new, non_blocking=True)
        self._graph.replay()
        return tuple(x.clone(memory_format=torch.preserve_format) for x in self._outputs)


class Recordable:
    """A function of tensors that may have been recorded for some shapes of its inputs; others it computes as it is.

    Args:
        function: see `Recording`.
        record: how to record; tests on a CPU have their own way.
    """

    def __init__(self, function: _Function, record: Callable[[_Function, tuple[Tensor, ...]], _Function]) -> None:
        self._function = function
        self._record = record
        self._recordings: dict[_Shapes, _Function] = {}

    def record(self, *inputs: Tensor) -> None:
        """Record it for inputs of these shapes."""
        self._recordings[tuple(x.shape for x in inputs)] = self._record(self._function, inputs)

    def is_recorded(self, *inputs: Tensor) -> bool:
        """Tell whether inputs of these shapes are served by a recording."""
        return tuple(x.shape for x in inputs) in self._recordings

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute."""
        return self._recordings.get(tuple(x.shape for x in inputs), self._function)(*inputs)


class FrameGraphs:
    """What a stream computes on a frame: the image encoder, and the step of a batch of objects.

    Recordings read the weights, and what follows from them, where they lay: who changes weights opens a new stream.

    Args:
        model: the network.
        bank: the stream's memories; recordings read them where they lie.
        max_objects: up to how many objects to record for.
        enabled: record at all.
        record: see `Recordable`; by default as a CUDA graph.
    """

    def __init__(
        self,
        model: TrackingNetwork,
        bank: MemoryBank,
        max_objects: int,
        *,
        enabled: bool,
        record: Callable[[_Function, tuple[Tensor, ...]], _Function] | None = None,
    ) -> None:
        self._model = model
        self._bank = bank
        if record is None:
            record = partial(Recording, pool=torch.cuda.graph_pool_handle() if enabled else None)
        self._encode = Recordable(self._encode_tensors, record)
        self._track = Recordable(self._track_tensors, record)
        self._sizes = [1 << i for i in range((max_objects - 1).bit_length() + 1)] if enabled else []
        if enabled:
            self._record_all()

    def encode(self, image: Tensor) -> ImageFeatures:
        """Encode one resized image (3, S, S)."""
        return self._features(*self._encode(self._model.normalise_picture(image[None])))

    def track(
        self,
        features: ImageFeatures,
        batches: MemoryBatches,
        *,
        remember: bool = True,
        examiner: Examiner | None = None,
    ) -> Tracked:
        """Track some objects; see `sam_core.streaming.tracking`. A recording makes memories that nobody asked for.

        What an examiner looks at is not recorded.
        """
        if len(batches.indices) == 1 and examiner is None:
            count = len(batches.order)
            size = next((size for size in self._sizes if size >= count), count)
            inputs = (features.embedding, *features.high_res, *batches.indices[0].padded(size).tensors())
            if self._track.is_recorded(*inputs):
                return Tracked.from_tensors(self._track(*inputs)).first(count)
        return track(self._model, self._bank, features, batches, remember=remember, examiner=examiner)

    def _features(self, embedding: Tensor, fine: Tensor, middle: Tensor, trunk: Tensor | None = None) -> ImageFeatures:
        return ImageFeatures(embedding, (fine, middle), self._model.image_position(embedding), trunk)

    def _encode_tensors(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self._model.encode_image(images)
        trunk = () if features.trunk is None else (features.trunk,)
        return features.embedding, *features.high_res, *trunk

    def _track_tensors(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        indices = MemoryIndices(*tensors[3:])
        batches = MemoryBatches((indices,), list(range(indices.rows.shape[0])))
        return track(self._model, self._bank, self._features(*tensors[:3]), batches).tensors()

    def _record_all(self) -> None:
        """Record the encoder and the steps of full banks; where that fails, say why and go on without."""
        began = time.monotonic()
        device = self._model.device
        try:
            pixels = torch.zeros(self._model.image_size, self._model.image_size, 3, dtype=torch.uint8, device=device)
            images = self._model.normalise_picture(self._model.resize(pixels[None]))
            self._encode.record(images)
            inputs = self._encode(images)[:3]
            _log.info("Recorded the image encoder in %.1f s.", time.monotonic() - began)
            for size in reversed(self._sizes):  # the largest takes the memory that the others fit into
                for indices in _full(self._bank, size):
                    self._track.record(*inputs, *indices.tensors())
                _log.info("Recorded the step of up to %d objects after %.1f s.", size, time.monotonic() - began)
        except RuntimeError as error:
            _log.warning("CUDA graphs cannot be recorded, so kernels are launched one by one: %s", error)
            self._encode = Recordable(self._encode_tensors, Recording)
            self._track = Recordable(self._track_tensors, Recording)


def _full(bank: MemoryBank, count: int) -> list[MemoryIndices]:
    """Return indices of full banks of `count` objects: of one age, and of several."""
    spatial, pointers = bank.attended
    device = bank.spatial.device

    def numbers(rows: int, columns: int) -> Tensor:
        return torch.zeros(rows, columns, dtype=torch.long, device=device)

    return [
        MemoryIndices(
            numbers(count, 1),
            numbers(count, spatial),
            numbers(1, spatial),
            numbers(count, pointers),
            numbers(ages, pointers),
        )
        for ages in sorted({1, count})
    ]
