"""References that track: PyPI `sam2`, and the ports of SAM 2, EdgeTAM and SAM 3's tracker in `transformers`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.reference.edgetam import EdgeTamStream, edgetam_reference
from benchmarks.reference.peers import required
from benchmarks.reference.sam2 import OFFICIAL_CONFIGS, OfficialStream, official_predictor
from benchmarks.reference.sam3_tracker import ReferenceStream, reference_tracker_config
from benchmarks.reference.sharing import give_weights
from benchmarks.speed.hugging_face import HuggingFaceStream, build_hugging_face
from benchmarks.speed.official import build_official
from benchmarks.speed.work import Work
from benchmarks.verify.side import Answer
from benchmarks.verify.source import Source, answer_of, load, normalised
from sam_core.checkpoints.hugging_face import rename_hugging_face_sam2
from sam_core.sam3.tracker_names import tracker_part

__all__ = ["EdgeTam", "HuggingFaceSam2", "OfficialSam2", "Sam3"]


class OfficialSam2:
    """`SAM2VideoPredictor` of PyPI `sam2`."""

    name = "sam2"
    memory_dtype = torch.bfloat16

    def __init__(self, source: Source) -> None:
        required("sam2.sam2_video_predictor").tqdm = lambda numbers, **_: numbers  # a progress bar for every frame
        if source.model in OFFICIAL_CONFIGS and not source.overrides:
            predictor = official_predictor(source.model).eval().requires_grad_(False)
        else:
            predictor = build_official(Work(source.model, source.overrides), source.ours)
        self.own_names = load(predictor, source, lambda: predictor.load_state_dict(source.ours.state_dict()))
        self._predictor, self._ours = predictor.to(source.ours.device), source.ours

    def begin(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> Answer:
        """Open a stream."""
        self._stream, self._size = OfficialStream(self._predictor), (frame.shape[0], frame.shape[1])
        with torch.inference_mode():
            self._stream.step(normalised(self._ours, frame)[0], self._size)
            return answer_of(self._stream.prompt(1, box=box), self._size)

    def step(self, frame: NDArray[np.uint8]) -> Answer:
        """Track the object."""
        with torch.inference_mode():
            logits = self._stream.step(normalised(self._ours, frame)[0], self._size)
        assert logits is not None
        return answer_of(logits[0], self._size)


class HuggingFaceSam2:
    """`Sam2VideoModel` of `transformers`."""

    name = "transformers"
    memory_dtype = torch.bfloat16

    def __init__(self, source: Source) -> None:
        model = build_hugging_face(Work(source.model, source.overrides), source.ours)
        self.own_names = load(model, source, lambda: None)  # it has our weights already
        self._model, self._ours = model.to(source.ours.device), source.ours

    def begin(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> Answer:
        """Open a session."""
        self._size = (frame.shape[0], frame.shape[1])
        self._stream = HuggingFaceStream(self._model, self._size, [box])
        return self.step(frame)

    def step(self, frame: NDArray[np.uint8]) -> Answer:
        """Track the object."""
        with torch.inference_mode():
            return answer_of(self._stream.step(normalised(self._ours, frame))[0], self._size)


class Session:
    """A port of `transformers` that is fed frame by frame: EdgeTAM, SAM 3's tracker."""

    name = "transformers"
    memory_dtype = torch.bfloat16

    def __init__(self, model: Any, stream: Callable[[Any], Any], source: Source) -> None:
        self._model, self._open, self._ours = model.to(source.ours.device), stream, source.ours

    def begin(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> Answer:
        """Open a session; a box is two points with labels of their own."""
        self._stream, self._size = self._open(self._model), (frame.shape[0], frame.shape[1])
        corners = torch.from_numpy(box).view(2, 2) / torch.tensor(self._size[::-1]) * self._ours.image_size
        labels = torch.tensor([2, 3], device=self._ours.device)
        with torch.inference_mode():
            self._stream.step(normalised(self._ours, frame)[0])
            return answer_of(self._stream.prompt(1, points=corners.to(labels.device), labels=labels), self._size)

    def step(self, frame: NDArray[np.uint8]) -> Answer:
        """Track the object."""
        with torch.inference_mode():
            return answer_of(self._stream.step(normalised(self._ours, frame)[0])[1], self._size)


class EdgeTam(Session):
    """`EdgeTamVideoModel` of `transformers`."""

    memory_dtype = torch.float32  # alone among the ports it does not round memories

    def __init__(self, source: Source) -> None:
        model = edgetam_reference(source.model, source.overrides)
        values = source.ours.state_dict()
        self.own_names = load(model, source, lambda: give_weights(values, model, rename_hugging_face_sam2))
        super().__init__(model, EdgeTamStream, source)


class Sam3(Session):
    """`Sam3TrackerVideoModel` of `transformers`."""

    def __init__(self, source: Source) -> None:
        module = required("transformers.models.sam3_tracker_video.modeling_sam3_tracker_video")
        model = module.Sam3TrackerVideoModel(reference_tracker_config(source.model, source.overrides)).eval()
        values = source.ours.state_dict()
        self.own_names = load(model, source, lambda: give_weights(values, model, lambda x: tracker_part(x)[0]))
        super().__init__(model, ReferenceStream, source)
