"""Stand-ins for the modules of torchvision that reference code imports; torchvision has no build for this torch.

The few functions that run do what torchvision documents. `Resize` resizes 8-bit levels with PyTorch, as our networks
do, so that a comparison is of what comes after. All other names are empty classes: they are imported, but not used.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["torchvision_stand_in"]

_NAMES = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.datasets.folder",
    "torchvision.io",
    "torchvision.models",
    "torchvision.ops",
    "torchvision.ops.boxes",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "torchvision.transforms.v2",
)


class Resize(nn.Module):
    """Resize an image (3, H, W) of 0 … 1 to a size (H, W)."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.height, self.width = size

    def forward(self, image: Tensor) -> Tensor:
        """Resize with antialiasing, on 8-bit levels."""
        if image.shape[-2] == self.height and image.shape[-1] == self.width:
            return image
        levels = (image * 255).round().to(torch.uint8)[None]
        size = [self.height, self.width]
        return F.interpolate(levels, size=size, mode="bilinear", align_corners=False, antialias=True)[0] / 255


class Normalize(nn.Module):
    """Subtract a mean and divide by a standard deviation, by channel."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, image: Tensor) -> Tensor:
        """Normalise an image (3, H, W)."""
        return (image - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]


class ToTensor:
    """Bring an image (H, W, 3) uint8 to (3, H, W) of 0 … 1."""

    def __call__(self, image: Any) -> Tensor:
        """Convert."""
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


class InterpolationMode(enum.Enum):
    """The members that timm names when it is imported."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


def box_area(boxes: Tensor) -> Tensor:
    """Return the area of boxes (N, 4) xyxy."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Return which boxes (N, 4) stay, best first; all are of one class (`idxs` is constant) in what calls this."""
    order = scores.sort(descending=True, stable=True).indices.tolist()
    kept: list[int] = []
    areas = box_area(boxes)
    for index in order:
        if kept:
            others = boxes[kept]
            corner = torch.minimum(boxes[index, 2:], others[:, 2:]) - torch.maximum(boxes[index, :2], others[:, :2])
            both = corner.clamp_min(0).prod(dim=1)
            if bool((both / (areas[index] + areas[kept] - both) > iou_threshold).any()):
                continue
        kept.append(index)
    return torch.tensor(kept, dtype=torch.long)


class _StandIn(ModuleType):
    """A module whose attributes are what it was given, its own modules, else empty classes."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []  # a package, whose modules are imported by name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return sys.modules.get(f"{self.__name__}.{name}") or type(name, (), {})


@contextmanager
def torchvision_stand_in() -> Iterator[None]:
    """Let reference code import the stand-ins as `torchvision`, unless the real one is installed."""
    if "torchvision" in sys.modules or find_spec("torchvision") is not None:
        yield
        return
    modules = {name: _StandIn(name) for name in _NAMES}
    vars(modules["torchvision.transforms"]).update(
        InterpolationMode=InterpolationMode, Normalize=Normalize, Resize=Resize, ToTensor=ToTensor
    )
    vars(modules["torchvision.transforms.functional"]).update(InterpolationMode=InterpolationMode)
    vars(modules["torchvision.ops.boxes"]).update(batched_nms=batched_nms, box_area=box_area)
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in _NAMES:
            sys.modules.pop(name, None)
