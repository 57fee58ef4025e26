"""References of still images: SAM 1 from PyPI `segment-anything` and from `transformers`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.reference.peers import required
from benchmarks.reference.sam1 import hugging_face_sam, official_sam
from benchmarks.reference.sharing import give_weights
from benchmarks.verify.side import Answer
from benchmarks.verify.source import Source, load, normalised
from sam_core.checkpoints.sam1 import as_sam1
from sam_core.sam1 import Sam1

__all__ = ["HuggingFaceSam1", "OfficialSam1"]


class OfficialSam1:
    """`SamPredictor` of PyPI `segment-anything`: the same box on every frame."""

    name = "segment-anything"
    memory_dtype = torch.float32

    def __init__(self, source: Source) -> None:
        model = official_sam(source.model, source.overrides)
        names = dict(zip(as_sam1(model.state_dict()), model.state_dict(), strict=True))
        values = {names[name]: tensor for name, tensor in source.ours.state_dict().items()}
        self.own_names = load(model, source, lambda: model.load_state_dict(values))
        self._predictor = required("segment_anything").SamPredictor(model.to(source.ours.device))
        self._ours: Sam1 = source.ours

    def begin(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> Answer:
        """Keep the box for all frames."""
        self._box = box
        return self.step(frame)

    def step(self, frame: NDArray[np.uint8]) -> Answer:
        """Segment a frame."""
        levels = self._ours.resize(torch.from_numpy(frame).to(self._ours.device)[None])
        self._predictor.set_torch_image(levels.float(), (frame.shape[0], frame.shape[1]))
        masks, _, low_res = self._predictor.predict(box=self._box, multimask_output=False)
        return Answer(torch.from_numpy(low_res[0]), torch.from_numpy(masks[0]))


class HuggingFaceSam1:
    """`SamModel` of `transformers`: the same box on every frame."""

    name = "transformers"
    memory_dtype = torch.float32

    def __init__(self, source: Source) -> None:
        model = hugging_face_sam(source.model, source.overrides)
        self.own_names = load(model, source, lambda: give_weights(source.ours.state_dict(), model, as_sam1))
        self._model = model.to(source.ours.device)
        self._ours: Sam1 = source.ours

    def begin(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> Answer:
        """Keep the box for all frames."""
        self._box = box
        return self.step(frame)

    def step(self, frame: NDArray[np.uint8]) -> Answer:
        """Segment a frame. The padding of its masks is cut off by our code; its processor needs torchvision."""
        size = (frame.shape[0], frame.shape[1])
        corners = self._ours.points_to_input(torch.from_numpy(self._box).view(2, 2), size).view(1, 1, 4)
        with torch.inference_mode():
            found = self._model(
                pixel_values=normalised(self._ours, frame),
                input_boxes=corners.to(self._ours.device),
                multimask_output=False,
            )
            low_res = found.pred_masks[0, 0]
            return Answer(low_res[0], self._ours.logits_to_image(low_res, size)[0] > 0)
