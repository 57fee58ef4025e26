"""Stand-ins for the few functions of torchvision that reference code imports; torchvision has no build for this torch.

They do what torchvision documents. `Resize` resizes 8-bit levels with PyTorch, as our networks do, so that a comparison
is of what comes after.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["torchvision_stand_in"]


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


def _not_used(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("a stand-in of torchvision")


@contextmanager
def torchvision_stand_in() -> Iterator[None]:
    """Let reference code import the stand-ins as `torchvision`, unless the real one is there."""
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional", "torchvision.ops",
             "torchvision.ops.boxes")  # fmt: skip
    if any(name in sys.modules for name in names):
        yield
        return
    modules = {name: ModuleType(name) for name in names}
    vars(modules["torchvision.transforms"]).update(Normalize=Normalize, Resize=Resize, ToTensor=ToTensor)
    vars(modules["torchvision.transforms.functional"]).update(resize=_not_used, to_pil_image=_not_used)
    vars(modules["torchvision.ops.boxes"]).update(batched_nms=batched_nms, box_area=box_area)
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
