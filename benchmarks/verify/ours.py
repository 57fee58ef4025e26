"""Our side: a stream of a tracker, or a predictor that answers the same box on every frame."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.verify.side import Answer
from sam_core import ImagePredictor, Prompt, Tracker
from sam_core.streaming import FifoPolicy, Stream

__all__ = ["OurImages", "OurStream"]

# SAM 2 as published, whatever a model's configuration adds to it.
_PUBLISHED = {"policy": FifoPolicy(), "non_overlap": "none", "mask_refinement": "none", "click_augmentation": "none"}


class OurStream:
    """`sam_core`'s stream: the object is tracked from its box on.

    Args:
        tracker: In float32.
        memory_dtype: How spatial memories are stored: as the reference stores them.
    """

    name = "ours"

    def __init__(self, tracker: Tracker, memory_dtype: torch.dtype) -> None:
        self._tracker, self._memory_dtype = tracker, memory_dtype
        self._stream: Stream | None = None

    def begin(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> Answer:
        """Open a stream."""
        self._stream = self._tracker.open_stream(max_objects=1, memory_dtype=self._memory_dtype, **_PUBLISHED)
        self._stream.step(frame)
        result = self._stream.add_prompt(Prompt(box=box))
        return Answer(result.mask_logits[0], result.masks[0])

    def step(self, frame: NDArray[np.uint8]) -> Answer:
        """Track the object."""
        assert self._stream is not None
        result = self._stream.step(frame)
        return Answer(result.mask_logits[0], result.masks[0])


class OurImages:
    """`sam_core`'s predictor of still images, for models that do not track.

    Args:
        predictor: In float32.
    """

    name = "ours"

    def __init__(self, predictor: ImagePredictor) -> None:
        self._predictor = predictor
        self._box = np.zeros(4, np.float32)

    def begin(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> Answer:
        """Keep the box for all frames."""
        self._box = box
        return self.step(frame)

    def step(self, frame: NDArray[np.uint8]) -> Answer:
        """Segment a frame."""
        self._predictor.set_image(frame)
        found = self._predictor.predict(boxes=self._box, multimask=False)
        return Answer(found.low_res[0, 0], found.masks[0, 0])
