"""The work of every contender: weights, frames, and the objects to track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from benchmarks.reference.weights import make_lively
from sam_core.build import build_model, shipped_weights, tracking_choices
from sam_core.checkpoints import load_checkpoint
from sam_core.configuration import load_config
from sam_core.sam2 import Sam2
from sam_core.synthetic import DemoScene

__all__ = ["FRAMES", "QUICK", "SETTLED", "Work", "boxes", "frames", "global_blocks"]

FRAMES = 48  # rendered once; a longer stream goes through them again and again
SETTLED = 24  # frames until every ring of the memory bank is full (16 pointers, 7 memories of every third frame)


@dataclass(frozen=True)
class Work:
    """A model at a size.

    Attributes:
        model: Name of one of our configurations.
        overrides: Hydra overrides of it.
    """

    model: str
    overrides: tuple[str, ...] = ()

    @classmethod
    def at(cls, model: str, image_size: int | None) -> Work:
        """Describe a model at an image size; None for the configuration's own."""
        return cls(model, () if image_size is None else (f"model.image_size={image_size}",))

    def build(self) -> Sam2:
        """Build our network, float32 on the CPU: with the weights that ship, or else random ones.

        With the random weights objects are present and memories change the masks; otherwise the masks of two
        implementations would be equal whatever they compute.
        """
        torch.manual_seed(0)
        model = build_model(self.model, self.overrides)
        weights = shipped_weights(self.model)
        if weights is None:
            make_lively(model)
        else:
            load_checkpoint(model, weights, self.model)
        return model.requires_grad_(False)

    @property
    def image_size(self) -> int:
        """Side of the model's square input in px."""
        size: int = load_config("models", self.model, self.overrides).model.image_size
        return size

    @property
    def choices(self) -> dict[str, str]:
        """Tracking options of our configuration, as `Tracker` takes them."""
        return tracking_choices(load_config("models", self.model, self.overrides))

    @property
    def weights(self) -> str:
        """Where the weights come from."""
        return "random" if shipped_weights(self.model) is None else "shipped"


# The test model, as small as the peers allow: in `transformers` memories always have 64 channels, and `sam2` omits a
# layer where the features are not wider than the memories.
QUICK = Work("sam2.1_micro", ("model.d_model=128", "model.memory_encoder.memory_dim=64"))


def frames(width: int = 640, height: int = 480, count: int = FRAMES) -> list[NDArray[np.uint8]]:
    """Render frames (height, width, 3) uint8 RGB of the demo's scene."""
    scene = DemoScene(width=width, height=height)
    return [np.ascontiguousarray(scene.render(i).image) for i in range(count)]


def boxes(count: int, width: int, height: int) -> Sequence[NDArray[np.float32]]:
    """Spread boxes (4,) float32 xyxy px over the image in rows, about a third overlapping their neighbours."""
    columns = int(np.ceil(np.sqrt(count * width / height)))
    rows = int(np.ceil(count / columns))
    step_x, step_y = width / (columns + 1), height / (rows + 1)
    return [
        np.array([x, y, min(x + 1.5 * step_x, width - 1), min(y + 1.5 * step_y, height - 1)], np.float32)
        for k in range(count)
        for x, y in [((k % columns) * step_x + 0.1 * step_x, (k // columns) * step_y + 0.1 * step_y)]
    ]


def global_blocks(config: DictConfig) -> list[int]:
    """Return the trunk's blocks of global attention as the peers can run them.

    Their code cannot pool queries in a block without windows. Such a block is given the window of its stage, where that
    covers the whole map and so is the same.
    """
    trunk, result = config.image_encoder.trunk, []
    for block in trunk.global_att_blocks:
        stage = next((k for k in range(1, 4) if sum(trunk.stages[:k]) == block), None)
        if stage is None:
            result.append(block)
        elif trunk.window_spec[stage - 1] != config.image_size // 2 ** (stage + 1):
            raise ValueError(f"the peers have no global attention in block {block}, where a stage begins")
    return result
