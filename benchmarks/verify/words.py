"""SAM 3's detector: every frame is searched for one phrase, here and by `Sam3Model` of `transformers`."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.reference.peers import required
from benchmarks.reference.sam3 import reference_config, reference_roi_align
from benchmarks.reference.sharing import give_weights
from benchmarks.verify.side import Answer
from benchmarks.verify.source import Source, load
from sam_core.sam3 import ConceptDetector
from sam_core.sam3.hugging_face import rename_hugging_face_detector
from sam_core.sam3.preprocessing import prepare_image

__all__ = ["OurDetector", "Sam3Detector"]

_THRESHOLD = 0.5  # of the scores of instances


class OurDetector:
    """`sam_core`'s detector.

    Args:
        detector: In float32.
        phrase: What every frame is searched for.
    """

    name = "ours"

    def __init__(self, detector: ConceptDetector, phrase: str) -> None:
        self._detector, self._phrase = detector, phrase

    def begin(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> Answer:
        """Search the first frame; the box is no matter."""
        return self.step(frame)

    def step(self, frame: NDArray[np.uint8]) -> Answer:
        """Search a frame."""
        (found,) = self._detector.detect(self._detector.encode_image(frame), self._phrase, threshold=0.0)
        return _answer(found.scores, found.mask_logits, found.image_size)


class Sam3Detector:
    """`Sam3Model` of `transformers`.

    Args:
        source: Its `ours` is our detector.
        phrase: What every frame is searched for.
    """

    name = "transformers"
    memory_dtype = torch.float32

    def __init__(self, source: Source, phrase: str) -> None:
        module = required("transformers.models.sam3.modeling_sam3")
        if find_spec("torchvision") is None:
            module.torchvision = SimpleNamespace(ops=SimpleNamespace(roi_align=reference_roi_align))
        model = module.Sam3Model(reference_config(source.model, source.overrides)).eval().requires_grad_(False)
        values, self._ours = source.ours.network.state_dict(), source.ours
        self.own_names = load(
            model, source, lambda: give_weights(values, model, rename_hugging_face_detector), "detector_model."
        )
        self._model = model.to(source.ours.device)
        ids = torch.tensor([source.ours.tokenizer(phrase).ids], device=source.ours.device)
        # An exemplar that counts as padding: without any, the port leaves out the token that stands for exemplars,
        # which Meta's code always has.
        self._words = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "input_boxes": torch.zeros(1, 1, 4, device=ids.device),
            "input_boxes_labels": torch.tensor([[-10]], device=ids.device),
        }

    def begin(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> Answer:
        """Search the first frame; the box is no matter."""
        return self.step(frame)

    def step(self, frame: NDArray[np.uint8]) -> Answer:
        """Search a frame."""
        size = (frame.shape[0], frame.shape[1])
        with torch.inference_mode():
            pixels = prepare_image(frame, self._ours.image_size, self._ours.device, torch.float32)
            found = self._model(pixel_values=pixels, **self._words)
            scores = found.pred_logits[0].sigmoid() * found.presence_logits[0].sigmoid()
            order = scores.argsort(descending=True, stable=True)
            return _answer(scores[order], found.pred_masks[0, order], size)


def _answer(scores: Tensor, logits: Tensor, size: tuple[int, int]) -> Answer:
    """Return the best query's logits, and the union of all instances' masks."""
    masks = torch.zeros(size, dtype=torch.bool, device=logits.device)
    for one in logits[scores > _THRESHOLD]:
        masks |= F.interpolate(one[None, None], size=size, mode="bilinear", align_corners=False)[0, 0] > 0
    return Answer(logits[0].float(), masks)
