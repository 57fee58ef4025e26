"""What a reference is built from, and what all of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.reference.sharing import load_own_layout
from benchmarks.verify.side import Answer

__all__ = ["Source", "answer_of", "load", "normalised"]


@dataclass(frozen=True)
class Source:
    """What a reference is built from.

    Attributes:
        model: Name of our configuration.
        overrides: Hydra overrides of it.
        state: Tensors of the file, under the file's names.
        ours: Our network, with these weights, on its device.
    """

    model: str
    overrides: tuple[str, ...]
    state: Mapping[str, Tensor]
    ours: Any

    @property
    def is_hugging_face(self) -> bool:
        """Whether the file has the layout of Hugging Face's, not Meta's."""
        return any(name.removeprefix("detector_model.").startswith("vision_encoder.") for name in self.state)


def load(model: Any, source: Source, give: Callable[[], object], prefix: str = "") -> bool:
    """Load the file under its own names, else by `give`; tells which.

    Args:
        model: the reference's network.
        source: the file, and our network.
        give: gives the reference our weights.
        prefix: what a file of several networks puts before the names of this one.
    """
    part = {name.removeprefix(prefix): tensor for name, tensor in source.state.items() if name.startswith(prefix)}
    if load_own_layout(model, source.state) or load_own_layout(model, part):
        return True
    give()
    return False


def normalised(ours: Any, frame: NDArray[np.uint8]) -> Tensor:
    """Resize and normalise a frame as our network does, so that the comparison is of what comes after: (1, 3, S, S)."""
    images: Tensor = ours.normalise(torch.from_numpy(frame).to(ours.device)[None])
    return images


def answer_of(logits: Tensor, size: tuple[int, int]) -> Answer:
    """Bring logits (h, w) to the size of the frame, as all these packages do."""
    if logits.shape != size:
        logits = F.interpolate(logits[None, None].float(), size=size, mode="bilinear", align_corners=False)[0, 0]
    return Answer(logits.float(), logits > 0)
